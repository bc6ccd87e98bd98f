/* Which MPI library answers, for programs of several suites. */
#ifndef COMMON_LIBRARY_H
#define COMMON_LIBRARY_H

/*
 * Print two comment lines: the first line of the library's version text, and a digest of the whole text (FNV-1a, 64
 * bits), which tells two builds of one version apart, since MPICH and its kin put their configuration into it.
 */
void print_library(void);

#endif
