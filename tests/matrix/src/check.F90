! Does MPI work from Fortran?  The same as check.c, but for what is left to C: errors and operations of one's own.
! With USE_MPI by the module mpi, with USE_MPI_F08 by mpi_f08, else by mpif.h; with ATTRIBUTES also what few programs
! use and what the Fortran interface does not do by functions of MPI alone.  LOGICAL results are asked for, as compilers
! differ in them.
#ifdef USE_MPI_F08
#define STATUS_OF(name) status%name
#else
#define STATUS_OF(name) status(name)
#endif
program check
#if defined(USE_MPI_F08)
  use mpi_f08
  implicit none
#elif defined(USE_MPI)
  use mpi
  implicit none
#else
  implicit none
  include 'mpif.h'
#endif
  integer, parameter :: n = 1000
  integer :: ierr, rank, ranks, length, i, next, last, count, mine(n), theirs(n)
#ifdef USE_MPI_F08
  type(MPI_Win) :: window
  type(MPI_File) :: file
  type(MPI_Status) :: status
#else
  integer :: window, file, status(MPI_STATUS_SIZE)
#endif
#ifdef ATTRIBUTES
  integer :: key
  integer(kind=MPI_ADDRESS_KIND) :: extra, attribute
#endif
  integer, allocatable :: memory(:)
  integer(kind=MPI_ADDRESS_KIND) :: bytes, place, bound
  integer(kind=MPI_OFFSET_KIND) :: offset
  double precision :: part(1), total(1)
  logical :: flag, all_of_them
  character(len=MPI_MAX_PROCESSOR_NAME) :: host
  character(len=8192) :: version
  character(len=1024) :: path

  call MPI_Init(ierr)
  call MPI_Comm_rank(MPI_COMM_WORLD, rank, ierr)
  call MPI_Comm_size(MPI_COMM_WORLD, ranks, ierr)
  call MPI_Get_processor_name(host, length, ierr)
  version = ' '
  call MPI_Get_library_version(version, length, ierr)
  i = scan(version, achar(10) // achar(13) // achar(0))
  if (i > 0) version = version(:i - 1)
  do i = 1, len_trim(version)
    if (version(i:i) == achar(9)) version(i:i) = ' '
  end do
  print '(a, i0, a, i0, 4a)', 'rank ', rank, ' of ', ranks, ' on ', trim(host), ' library ', trim(version)
  flush (6)
  call MPI_Initialized(flag, ierr)
  call expect(flag, 'MPI_Initialized')
  call get_command_argument(1, path)
  next = mod(rank + 1, ranks)
  last = mod(rank + ranks - 1, ranks)

  mine = [(rank * n + i, i = 1, n)]
  call MPI_Sendrecv(mine, n, MPI_INTEGER, next, 7, theirs, n, MPI_INTEGER, MPI_ANY_SOURCE, MPI_ANY_TAG, &
                    MPI_COMM_WORLD, status, ierr)
  call expect(STATUS_OF(MPI_SOURCE) == last .and. STATUS_OF(MPI_TAG) == 7, 'source or tag of a message')
  call MPI_Get_count(status, MPI_INTEGER, count, ierr)
  call expect(count == n, 'length of a message')
  call expect(all(theirs == [(last * n + i, i = 1, n)]), 'content of a message')
  call done('p2p')

  part(1) = rank + 1
  call MPI_Allreduce(part, total, 1, MPI_DOUBLE_PRECISION, MPI_SUM, MPI_COMM_WORLD, ierr)
  call expect(total(1) == ranks * (ranks + 1) / 2, 'sum of a reduction')
  call MPI_Allreduce(MPI_IN_PLACE, part, 1, MPI_DOUBLE_PRECISION, MPI_MAX, MPI_COMM_WORLD, ierr)
  call expect(part(1) == ranks, 'maximum of a reduction in place')
  flag = .true.
  call MPI_Allreduce(flag, all_of_them, 1, MPI_LOGICAL, MPI_LAND, MPI_COMM_WORLD, ierr)
  call expect(all_of_them, 'logical reduction')
  call done('collective')

  allocate (memory(n))
  memory = -1
  mine(1) = rank + 100
  call MPI_Type_get_extent(MPI_INTEGER, bound, bytes, ierr)
  place = 0
  call MPI_Win_create(memory, n * bytes, int(bytes), MPI_INFO_NULL, MPI_COMM_WORLD, window, ierr)
  call MPI_Win_fence(MPI_MODE_NOPRECEDE, window, ierr)
  call MPI_Put(mine, 1, MPI_INTEGER, next, place, 1, MPI_INTEGER, window, ierr)
  call MPI_Win_fence(MPI_MODE_NOSUCCEED, window, ierr)
  call MPI_Win_free(window, ierr)
  call expect(memory(1) == last + 100, 'what another rank has put')
  call done('one-sided')

  mine = [(rank + 2 * i, i = 1, n)]
  call MPI_File_open(MPI_COMM_WORLD, trim(path), ior(MPI_MODE_CREATE, MPI_MODE_RDWR), MPI_INFO_NULL, file, ierr)
  call expect(ierr == MPI_SUCCESS, 'opening the shared file')
  offset = bytes * n * rank
  call MPI_File_write_at_all(file, offset, mine, n, MPI_INTEGER, MPI_STATUS_IGNORE, ierr)
  call MPI_File_sync(file, ierr)
  call MPI_Barrier(MPI_COMM_WORLD, ierr)
  offset = bytes * n * next
  call MPI_File_read_at_all(file, offset, theirs, n, MPI_INTEGER, status, ierr)
  call MPI_Get_count(status, MPI_INTEGER, count, ierr)
  call expect(count == n, 'length of what was read')
  call expect(all(theirs == [(next + 2 * i, i = 1, n)]), 'what another rank has written')
  call MPI_File_close(file, ierr)
  call done('io')
#ifdef ATTRIBUTES
  call MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, attribute, flag, ierr)
  call expect(flag .and. attribute >= 32767, 'the largest tag')
  extra = 5
  call MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, MPI_COMM_NULL_DELETE_FN, key, extra, ierr)
  attribute = 42
  call MPI_Comm_set_attr(MPI_COMM_WORLD, key, attribute, ierr)
  attribute = 0
  call MPI_Comm_get_attr(MPI_COMM_WORLD, key, attribute, flag, ierr)
  call expect(flag .and. attribute == 42, 'an attribute')
  call MPI_Comm_delete_attr(MPI_COMM_WORLD, key, ierr)
  call MPI_Comm_free_keyval(key, ierr)
  call done('attributes')
#endif
  call MPI_Finalize(ierr)

contains

  subroutine expect(right, what)
    logical, intent(in) :: right
    character(len=*), intent(in) :: what
    integer :: ignored
    if (right) return
    write (0, '(a, i0, 2a)') 'rank ', rank, ': wrong: ', what
    flush (0)
    call MPI_Abort(MPI_COMM_WORLD, 3, ignored)
    stop 3
  end subroutine expect

  subroutine done(name)
    character(len=*), intent(in) :: name
    print '(a, i0, 3a)', 'rank ', rank, ' part ', name, ' ok'
    flush (6)
  end subroutine done
end program check
