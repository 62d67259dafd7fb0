/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * How much memory there is.
 */

#include <finwidth/memory.h>
#include <finwidth/option.h>

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* What the address space of a rank grows by in the smallest run: buffers of MPI and BLAS */
static const double least_room = 400e6;

/* Address space still free under the limit; all there is without one */
static double RoomLeft(void)
{
  struct rlimit limit;
  long          pages = 0;
  FILE         *file;

  if (getrlimit(RLIMIT_AS, &limit) || limit.rlim_cur == RLIM_INFINITY) return PETSC_MAX_REAL;
  file = fopen("/proc/self/statm", "r");
  if (!file) return (double)limit.rlim_cur;
  if (fscanf(file, "%ld", &pages) != 1) pages = 0;
  (void)fclose(file);
  return PetscMax((double)limit.rlim_cur - (double)pages * (double)sysconf(_SC_PAGE_SIZE), 0.0);
}

int FwMemoryCheckLimit(char message[], size_t size)
{
  struct rlimit limit;
  const double  room = RoomLeft();

  if (room >= least_room || getrlimit(RLIMIT_AS, &limit)) return 0;
  snprintf(message, size,
           "the address space is limited to %.2f GiB (ulimit -v), and the smallest run needs %.2f GiB: raise the limit",
           (double)limit.rlim_cur / 1073741824.0, ((double)limit.rlim_cur - room + least_room) / 1073741824.0);
  return FW_EXIT_MEMORY;
}

static double ReadLimit(const char path[])
{
  FILE  *file  = fopen(path, "r");
  double limit = PETSC_MAX_REAL;

  if (!file) return limit;
  if (fscanf(file, "%lf", &limit) != 1) limit = PETSC_MAX_REAL; /* "max" */
  (void)fclose(file);
  return limit;
}

/* Least limit of a group and of those above it. In a container the group may be named as the host sees it, and not be there. */
static double LeastLimit(const char mount[], const char hierarchy[], const char group[], const char file[])
{
  double least = PETSC_MAX_REAL;
  char   path[2 * PATH_MAX];

  for (int n = (int)strlen(group); n >= 0; n--) {
    if (group[n] && group[n] != '/') continue;
    snprintf(path, sizeof path, "%s%s%.*s/%s", mount, hierarchy, n, group, file);
    least = PetscMin(least, ReadLimit(path));
  }
  return least;
}

double FwMemoryGroupLimit(const char groups[], const char mount[])
{
  FILE  *file  = fopen(groups, "r");
  double least = PETSC_MAX_REAL;
  char   line[PATH_MAX];

  while (file && fgets(line, sizeof line, file)) { /* number:controllers:group */
    char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;

    if (!group) continue;
    line[strcspn(line, "\n")] = '\0';
    *group++                  = '\0';
    if (!controllers[1]) least = PetscMin(least, LeastLimit(mount, "", group, "memory.max"));
    if (strstr(controllers, "memory"))
      least = PetscMin(least, LeastLimit(mount, "/memory", group, "memory.limit_in_bytes"));
  }
  if (file) (void)fclose(file);
  return least;
}

PetscErrorCode FwEstimateMemory(MPI_Comm comm, double *bytes)
{
  static double room = -1.0; /* when it was first asked for: before data that later needs count in */
  PetscBool     is_set;
  MPI_Comm      node;
  PetscMPIInt   n_rank;

  PetscFunctionBegin;
  if (room < 0.0) room = RoomLeft();
  PetscCall(FwOptionReal("memory", bytes, &is_set));
  if (!is_set) {
    PetscCallMPI(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node));
    PetscCallMPI(MPI_Comm_size(node, &n_rank));
    PetscCallMPI(MPI_Comm_free(&node));
    *bytes = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGE_SIZE);
    *bytes = PetscMin(*bytes, FwMemoryGroupLimit("/proc/self/cgroup", "/sys/fs/cgroup")) / n_rank;
    *bytes = PetscMin(*bytes, room + FW_ESTIMATE_BASE_BYTES);
  }
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, bytes, 1, MPI_DOUBLE, MPI_MIN, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}
