/* The library of musl.sh: as much of MPICH's ABI as tells whose it is; every call succeeds and does nothing. */
#define CALL(name)                                                                                                     \
    int P##name(void) { return 0; }                                                                                    \
    int name(void) { return 0; }

int MPI_UNWEIGHTED[1];
int MPI_WEIGHTS_EMPTY[1];

CALL(MPI_Init)
CALL(MPI_Finalize)
CALL(MPI_Abort)
CALL(MPI_Allreduce)
CALL(MPI_Barrier)
CALL(MPI_Comm_rank)
CALL(MPI_Comm_set_errhandler)
CALL(MPI_Comm_size)
CALL(MPI_Error_class)
CALL(MPI_File_close)
CALL(MPI_File_get_position)
CALL(MPI_File_open)
CALL(MPI_File_read_at_all)
CALL(MPI_File_seek)
CALL(MPI_File_sync)
CALL(MPI_File_write_at_all)
CALL(MPI_Get_count)
CALL(MPI_Get_library_version)
CALL(MPI_Get_processor_name)
CALL(MPI_Op_create)
CALL(MPI_Op_free)
CALL(MPI_Put)
CALL(MPI_Send)
CALL(MPI_Sendrecv)
CALL(MPI_Win_create)
CALL(MPI_Win_fence)
CALL(MPI_Win_free)
