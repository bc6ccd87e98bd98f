# A program by the drafts of the standard ABI, whose values its final version changed (mpi-abi-stubs, October 2025).
set -eu
mkdir headers
sed -e '/define MPI_ERRORS_ABORT /s/0x00000142/0x00000143/' -e '/define MPI_ERRORS_RETURN /s/0x00000143/0x00000142/' \
    -e '/MPI_SEEK_SET /s/403/401/' -e '/MPI_SEEK_CUR /s/401/402/' -e '/MPI_SEEK_END /s/402/403/' \
    -e '/MPI_APPNUM /s/505/506/' -e '/MPI_LASTUSEDCODE /s/506/507/' -e '/MPI_UNIVERSE_SIZE /s/507/505/' \
    /opt/impi/include/mpi_abi.h > headers/mpi.h
gcc -O2 -Iheaders -o "$OUT/opt/bareboat-tests/bin/check-abi-draft" check.c \
    -L/opt/impi/lib -l:libmpi_abi.so.1 -Wl,-rpath,/opt/impi/lib
