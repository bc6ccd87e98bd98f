/*
 * MPICH 4.0 over UCX's TCP often hangs in MPI_Finalize: a rank closes its endpoints, which takes the peer's help, while
 * the peer, which was quicker, waits in a barrier of PMI and does not look at UCX.  The figures are complete by then.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "ending.h"

#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LIMIT 3 /* seconds; it takes milliseconds */

static volatile sig_atomic_t exit_status;

static void leave(int number)
{
    static const char text[] = "# MPI_Finalize did not return\n";
    (void)number;
    _exit(write(STDOUT_FILENO, text, sizeof text - 1) < 0 ? 1 : exit_status);
}

void finalize_mpi(int status)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = leave;
    exit_status = status;
    fflush(stdout);
    /* Rank 0 has printed meanwhile: let all come to the end at once, which makes that hang rarer. */
    MPI_Barrier(MPI_COMM_WORLD);
    sigaction(SIGALRM, &action, NULL);
    alarm(LIMIT);
    MPI_Finalize();
    alarm(0);
}
