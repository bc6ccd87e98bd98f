/* See library.h. */
#include "library.h"

#include <inttypes.h>
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* The library that answers may have a larger limit than the header this was compiled with. */
#define VERSION_ROOM (MPI_MAX_LIBRARY_VERSION_STRING > 8192 ? MPI_MAX_LIBRARY_VERSION_STRING : 8192)

void print_library(void)
{
    static char version[VERSION_ROOM];
    uint64_t digest = 0xcbf29ce484222325u;
    int length = 0;
    MPI_Get_library_version(version, &length);
    version[VERSION_ROOM - 1] = '\0';
    for (const char *c = version; *c != '\0'; c++)
        digest = (digest ^ (unsigned char)*c) * 0x100000001b3u;
    version[strcspn(version, "\r\n")] = '\0';
    for (char *c = version; *c != '\0'; c++)
        if (*c == '\t')
            *c = ' ';
    printf("# library: %s\n# library digest: %016" PRIx64 "\n", version, digest);
}
