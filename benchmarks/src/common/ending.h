/* The end of an MPI program whose result is printed. */
#ifndef ENDING_H
#define ENDING_H

/*
 * Ends MPI.  All that was measured is printed by now, so that a hang here takes nothing from it: the program then says
 * "# MPI_Finalize did not return" and exits with status, as it would have.
 */
void finalize_mpi(int status);

#endif
