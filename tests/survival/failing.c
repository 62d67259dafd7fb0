/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * To be preloaded: an allocation of a rank fails, or a call of MPI.
 *
 * FINWIDTH_FAIL_OF     "own": those that finwidth asks for, itself or through the C library or PETSc; "library": all others;
 *                      "mpi": collective calls of MPI by finwidth or PETSc
 * FINWIDTH_FAIL_AT     which of them, counted from 1 after MPI_Init(); 0 for none
 * FINWIDTH_FAIL_RANK   on which rank of mpirun; without it, on each
 * FINWIDTH_FAIL_ON     if it is set, those behind that one fail, too
 * FINWIDTH_FAIL_TRACE  if it is set, say on stderr from where it was called
 * FINWIDTH_FAIL_LIST   a file for the numbers of the allocations that were the first from their place in the program, that
 *                      is, with their stack of calls; "SIZE NUMBER" each
 */

#define _GNU_SOURCE
#include <errno.h>
#include <execinfo.h>
#include <link.h>
#include <malloc.h>
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_PART = 64, DEPTH = 24, N_PLACE = 1 << 16 };

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t),
  *__libc_memalign(size_t, size_t);

/* Where the code of a kind of object stands */
static struct {
  uintptr_t begin, end;
  enum { PROGRAM = 1, THROUGH } kind; /* others are libraries */
} parts[N_PART];

static int          n_part, is_armed, wants_own, wants_mpi, fails_on;
static long         n_seen, at;
static __thread int is_inside;
static FILE        *list;
static uint64_t     places[N_PLACE]; /* digests of the stacks that were seen; 0 for none */

static int AddObject(struct dl_phdr_info *object, size_t size, void *context)
{
  static int n_object;
  const int  is_program = n_object++ == 0;
  const int  is_through = strstr(object->dlpi_name, "/libc.so") || strstr(object->dlpi_name, "/libpetsc") ||
                         strstr(object->dlpi_name, "failing");

  (void)size;
  (void)context;
  for (int i = 0; i < object->dlpi_phnum && (is_program || is_through) && n_part < N_PART; i++) {
    const ElfW(Phdr) *part = &object->dlpi_phdr[i];

    if (part->p_type != PT_LOAD || !(part->p_flags & PF_X)) continue;
    parts[n_part].begin = object->dlpi_addr + part->p_vaddr;
    parts[n_part].end   = parts[n_part].begin + part->p_memsz;
    parts[n_part].kind  = is_program ? PROGRAM : THROUGH;
    n_part++;
  }
  return 0;
}

static int KindOf(const void *address)
{
  for (int i = 0; i < n_part; i++)
    if ((uintptr_t)address >= parts[i].begin && (uintptr_t)address < parts[i].end) return parts[i].kind;
  return 0;
}

static int IsOwn(int n, void *const frame[])
{
  for (int i = 0; i < n; i++) {
    const int kind = KindOf(frame[i]);

    if (kind != THROUGH) return kind == PROGRAM;
  }
  return 0;
}

static int IsNewPlace(int n, void *const frame[])
{
  uint64_t digest = 1;
  size_t   i;

  for (int k = 0; k < n; k++) digest = (digest ^ (uintptr_t)frame[k]) * UINT64_C(0x9e3779b97f4a7c15) + 1;
  for (i = digest % N_PLACE; places[i] && places[i] != digest; i = (i + 1) % N_PLACE)
    ;
  if (places[i]) return 0;
  places[i] = digest;
  return 1;
}

static int Judge(size_t size, const void *caller)
{
  void *frame[DEPTH];
  long  k;
  int   n, fails;

  if (wants_own && !KindOf(caller)) return 0; /* most of them, and to follow the stack is slow */
  n = backtrace(frame, DEPTH);
  if (IsOwn(n, frame) != wants_own) return 0;
  k     = __atomic_add_fetch(&n_seen, 1, __ATOMIC_RELAXED);
  fails = at && (k == at || (fails_on && k > at));
  if (list && IsNewPlace(n, frame)) fprintf(list, "%zu %ld\n", size, k);
  if (k == at && getenv("FINWIDTH_FAIL_TRACE")) backtrace_symbols_fd(frame, n, 2);
  return fails;
}

static int Fails(int is_mpi, size_t size, const void *caller)
{
  int fails;

  if (!is_armed || is_inside || is_mpi != wants_mpi) return 0;
  is_inside = 1;
  fails     = Judge(size, caller);
  is_inside = 0;
  if (fails) errno = ENOMEM;
  return fails;
}

void *malloc(size_t n)
{
  return Fails(0, n, __builtin_return_address(0)) ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
  return Fails(0, n * size, __builtin_return_address(0)) ? NULL : __libc_calloc(n, size);
}

void *realloc(void *old, size_t n)
{
  return Fails(0, n, __builtin_return_address(0)) ? NULL : __libc_realloc(old, n);
}

void *memalign(size_t alignment, size_t n)
{
  return Fails(0, n, __builtin_return_address(0)) ? NULL : __libc_memalign(alignment, n);
}

void *aligned_alloc(size_t alignment, size_t n)
{
  return memalign(alignment, n);
}

int posix_memalign(void **out, size_t alignment, size_t n)
{
  if (Fails(0, n, __builtin_return_address(0))) return ENOMEM;
  *out = __libc_memalign(alignment, n);
  return *out ? 0 : ENOMEM;
}

static void Arm(void)
{
  const char *rank = getenv("OMPI_COMM_WORLD_RANK"), *wanted = getenv("FINWIDTH_FAIL_RANK");
  const char *of = getenv("FINWIDTH_FAIL_OF"), *number = getenv("FINWIDTH_FAIL_AT"),
             *path = getenv("FINWIDTH_FAIL_LIST");
  void *frame[1];

  if (!of || (rank && wanted && strcmp(rank, wanted))) return;
  (void)backtrace(frame, 1); /* the first call loads a library */
  dl_iterate_phdr(AddObject, NULL);
  wants_mpi = !strcmp(of, "mpi");
  wants_own = wants_mpi || !strcmp(of, "own");
  fails_on  = getenv("FINWIDTH_FAIL_ON") != NULL;
  at        = number ? atol(number) : 0;
  list      = path ? fopen(path, "w") : NULL;
  is_armed  = 1;
}

/* --- MPI, by its profiling interface ------------------------------------------------------------------------ */

int MPI_Init(int *argc, char ***argv)
{
  const int failed = PMPI_Init(argc, argv);

  Arm();
  return failed;
}

int MPI_Finalize(void)
{
  is_armed = 0;
  if (list) fclose(list);
  return PMPI_Finalize();
}

#define REFUSE \
  if (Fails(1, 0, __builtin_return_address(0))) return MPI_ERR_OTHER

int MPI_Barrier(MPI_Comm comm)
{
  REFUSE;
  return PMPI_Barrier(comm);
}

int MPI_Bcast(void *value, int n, MPI_Datatype type, int root, MPI_Comm comm)
{
  REFUSE;
  return PMPI_Bcast(value, n, type, root, comm);
}

int MPI_Reduce(const void *in, void *out, int n, MPI_Datatype type, MPI_Op op, int root, MPI_Comm comm)
{
  REFUSE;
  return PMPI_Reduce(in, out, n, type, op, root, comm);
}

int MPI_Allreduce(const void *in, void *out, int n, MPI_Datatype type, MPI_Op op, MPI_Comm comm)
{
  REFUSE;
  return PMPI_Allreduce(in, out, n, type, op, comm);
}

int MPI_Allgather(const void *in, int n_in, MPI_Datatype type_in, void *out, int n_out, MPI_Datatype type_out,
                  MPI_Comm comm)
{
  REFUSE;
  return PMPI_Allgather(in, n_in, type_in, out, n_out, type_out, comm);
}

int MPI_Comm_split(MPI_Comm comm, int colour, int key, MPI_Comm *part)
{
  REFUSE;
  return PMPI_Comm_split(comm, colour, key, part);
}
