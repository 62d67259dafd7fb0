/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Who writes a result: the lock file beside it, and what must be removed when a run is given up.
 */

#include "store_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MAX_OPEN = 16, LOCK_SIZE = 768, HOST_SIZE = 256, JOB_SIZE = 128 };

/* Fixed room, so that FwStoreAbandonAll() needs neither memory nor a store that is still whole */
static struct {
  volatile sig_atomic_t has_lock, has_temporary;
  pid_t                 owner; /* a forked child must not remove its parent's files */
  char                  lock[PATH_MAX], text[LOCK_SIZE], temporary[PATH_MAX];
} open_stores[MAX_OPEN];

typedef struct {
  char      host[HOST_SIZE];
  long      pid;
  char      time[64];
  long long start; /* of the process, in the kernel's ticks: a number that is used again has another; 0 if unknown */
  char      job[JOB_SIZE]; /* of Slurm, "" for none */
  long      restart;       /* how often that has been queued again */
} Holder;

void FwStoreFolder(const char path[], size_t size, char folder[])
{
  const char  *slash = strrchr(path, '/');
  const size_t n     = slash ? (size_t)(slash - path) : 0;

  if (!slash)
    snprintf(folder, size, ".");
  else if (n == 0)
    snprintf(folder, size, "/");
  else
    snprintf(folder, size, "%.*s", (int)n, path);
}

/* --- the lock file ------------------------------------------------------------------------------------------ */

/* State and start of a process from /proc: a killed process whose parent is gone may stay as a zombie, which kill()
   takes for alive. False where there is no such file. */
static PetscBool ReadProcess(long pid, char *state, long long *start)
{
  char        path[64], text[1024] = "";
  const char *end;
  FILE       *file;

  snprintf(path, sizeof path, "/proc/%ld/stat", pid);
  file = fopen(path, "r");
  if (!file) return PETSC_FALSE;
  text[fread(text, 1, sizeof text - 1, file)] = '\0';
  fclose(file);
  end = strrchr(text, ')'); /* the name in parentheses may hold anything */
  return end && sscanf(end + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %lld",
                       state, start) == 2
           ? PETSC_TRUE
           : PETSC_FALSE;
}

/* The job of Slurm that this is part of: it keeps its number when it is queued again, and counts */
static void FindJob(char job[JOB_SIZE], long *restart)
{
  const char *id = getenv("SLURM_JOB_ID"), *cluster = getenv("SLURM_CLUSTER_NAME"),
             *count = getenv("SLURM_RESTART_COUNT");

  job[0]   = '\0';
  *restart = count ? strtol(count, NULL, 10) : 0;
  if (id && id[0]) snprintf(job, JOB_SIZE, "%.60s@%.60s", id, cluster ? cluster : "");
}

static void DescribeSelf(char text[LOCK_SIZE])
{
  char         state           = ' ';
  long long    start           = 0;
  const time_t now             = time(NULL);
  char         host[HOST_SIZE] = "", started[64] = "", job[JOB_SIZE];
  long         restart;
  int          n;
  struct tm    utc;

  gethostname(host, sizeof host - 1);
  if (gmtime_r(&now, &utc)) strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%SZ", &utc);
  (void)ReadProcess(getpid(), &state, &start);
  FindJob(job, &restart);
  n = snprintf(text, LOCK_SIZE, "host %s\npid %ld\ntime %s\nstart %lld\n", host, (long)getpid(), started, start);
  if (job[0]) snprintf(text + n, LOCK_SIZE - (size_t)n, "job %s\nrestart %ld\n", job, restart);
}

/* An empty or foreign lock counts as held: its owner may be about to write into it */
static void ReadHolder(int descriptor, Holder *holder)
{
  char          text[LOCK_SIZE];
  const ssize_t n = pread(descriptor, text, sizeof text - 1, 0);

  *holder             = (Holder){.host = "unknown", .time = "an unknown time"};
  text[n > 0 ? n : 0] = '\0';
  (void)!sscanf(text, "host %255s\npid %ld\ntime %63s\nstart %lld\njob %127s\nrestart %ld", holder->host, &holder->pid,
                holder->time, &holder->start, holder->job, &holder->restart);
}

/* An earlier run of this very job, on a node that was lost or from which it was taken with KILL: Slurm starts the job again
   once it holds that run for ended. On a node that merely cannot be reached it may live on: it then computes the same. */
static PetscBool IsEarlierRun(const Holder *holder)
{
  char job[JOB_SIZE];
  long restart;

  FindJob(job, &restart);
  return job[0] && !strcmp(job, holder->job) && holder->restart < restart ? PETSC_TRUE : PETSC_FALSE;
}

static PetscBool IsGone(const Holder *holder)
{
  char      host[HOST_SIZE] = "", state = ' ';
  long long start = 0;

  gethostname(host, sizeof host - 1);
  if (strcmp(host, holder->host)) return IsEarlierRun(holder);
  if (holder->pid <= 0) return PETSC_FALSE;
  if (ReadProcess(holder->pid, &state, &start))
    return (state == 'Z' || state == 'X' || (holder->start && start != holder->start)) ? PETSC_TRUE : PETSC_FALSE;
  return (kill((pid_t)holder->pid, 0) && errno == ESRCH) ? PETSC_TRUE : PETSC_FALSE;
}

static PetscErrorCode RefuseHeld(const char lock[], const Holder *holder)
{
  PetscFunctionBegin;
  PetscCheck(0, PETSC_COMM_SELF, FW_ERR_EXISTS,
             "another run writes this result: process %ld on host '%s' since %s; if it is gone, remove '%s'",
             holder->pid, holder->host, holder->time, lock);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteSelf(int descriptor, const char lock[], const char text[])
{
  const size_t n = strlen(text);

  PetscFunctionBegin;
  /* written before it is cut: a run that is killed in between leaves a text that says who it was */
  PetscCheck(pwrite(descriptor, text, n, 0) == (ssize_t)n && !ftruncate(descriptor, (off_t)n) && !fsync(descriptor),
             PETSC_COMM_SELF, FW_ERR_FILE, "cannot write lock file '%s': %s", lock, strerror(errno));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Two runs may find the same dead lock: flock() lets one of them rewrite it, and the other then reads a live holder.
   The lock is rewritten, not replaced, so that neither can remove what the other has just taken. */
static PetscErrorCode TakeOver(int descriptor, const char lock[], const char text[], PetscBool *is_taken)
{
  struct stat opened, named;
  Holder      holder;

  PetscFunctionBegin;
  *is_taken = PETSC_FALSE;
  ReadHolder(descriptor, &holder);
  if (!IsGone(&holder)) PetscCall(RefuseHeld(lock, &holder));
  if (flock(descriptor, LOCK_EX | LOCK_NB)) PetscCall(RefuseHeld(lock, &holder));
  ReadHolder(descriptor, &holder);
  if (!IsGone(&holder)) PetscCall(RefuseHeld(lock, &holder));
  if (fstat(descriptor, &opened) || stat(lock, &named) || opened.st_ino != named.st_ino)
    PetscFunctionReturn(PETSC_SUCCESS); /* removed meanwhile: try again from the start */
  PetscCall(WriteSelf(descriptor, lock, text));
  *is_taken = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A file that gets its name when it is written: a run that is killed on the way leaves none. Not every file system can */
static PetscErrorCode MakeWhole(const char lock[], const char text[], PetscBool *is_made)
{
  char           folder[PATH_MAX], name[64];
  int            descriptor;
  PetscErrorCode code;

  PetscFunctionBegin;
  *is_made = PETSC_FALSE;
  FwStoreFolder(lock, sizeof folder, folder);
  descriptor = open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
  if (descriptor < 0) PetscFunctionReturn(PETSC_SUCCESS);
  code = WriteSelf(descriptor, lock, text);
  snprintf(name, sizeof name, "/proc/self/fd/%d", descriptor);
  if (!code && !linkat(AT_FDCWD, name, AT_FDCWD, lock, AT_SYMLINK_FOLLOW)) *is_made = PETSC_TRUE;
  close(descriptor);
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MakeLock(const char lock[], const char text[], PetscBool *is_made)
{
  int            descriptor;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(MakeWhole(lock, text, is_made));
  if (*is_made) PetscFunctionReturn(PETSC_SUCCESS);
  descriptor = open(lock, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
  if (descriptor < 0 && errno == EEXIST) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(descriptor >= 0, PETSC_COMM_SELF, FW_ERR_FILE, "cannot make lock file '%s': %s", lock, strerror(errno));
  code = WriteSelf(descriptor, lock, text);
  close(descriptor);
  if (code) unlink(lock);
  PetscCall(code);
  *is_made = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TryLock(const char lock[], const char text[], PetscBool *is_taken)
{
  int            descriptor;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(MakeLock(lock, text, is_taken));
  if (*is_taken) PetscFunctionReturn(PETSC_SUCCESS);
  descriptor = open(lock, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
  if (descriptor < 0 && errno == ENOENT) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(descriptor >= 0, PETSC_COMM_SELF, FW_ERR_EXISTS,
             "another run writes this result: lock file '%s' cannot be read (%s)", lock, strerror(errno));
  code = TakeOver(descriptor, lock, text, is_taken);
  close(descriptor);
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* As TakeOver(): whoever finds the same dead lock meanwhile sees that it has gone, and starts again */
static PetscErrorCode RemoveDead(const char path[])
{
  char   lock[PATH_MAX];
  int    descriptor;
  Holder holder;

  PetscFunctionBegin;
  PetscCall(PetscSNPrintf(lock, sizeof lock, "%s.lock", path));
  descriptor = open(lock, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
  if (descriptor < 0) PetscFunctionReturn(PETSC_SUCCESS);
  if (!flock(descriptor, LOCK_EX | LOCK_NB)) {
    ReadHolder(descriptor, &holder);
    if (IsGone(&holder)) (void)unlink(lock);
  }
  close(descriptor);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStoreRemoveDeadLock(MPI_Comm comm, const char path[])
{
  PetscMPIInt rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCall(FwErrorAgree(comm, 0, rank ? PETSC_SUCCESS : RemoveDead(path)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FindSlot(FwStore store)
{
  PetscFunctionBegin;
  for (int i = 0; i < MAX_OPEN && store->slot < 0; i++)
    if (!open_stores[i].has_lock && !open_stores[i].has_temporary) store->slot = i;
  PetscCheck(store->slot >= 0, PETSC_COMM_SELF, PETSC_ERR_PLIB, "more than %d stores are being written", MAX_OPEN);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStoreLock(FwStore store)
{
  PetscBool is_taken = PETSC_FALSE;
  char     *lock, *text;

  PetscFunctionBegin;
  PetscCall(FindSlot(store));
  lock = open_stores[store->slot].lock;
  text = open_stores[store->slot].text;
  DescribeSelf(text);
  PetscCall(PetscSNPrintf(lock, PATH_MAX, "%s.lock", store->path));
  for (int attempt = 0; attempt < 10 && !is_taken; attempt++) PetscCall(TryLock(lock, text, &is_taken));
  PetscCheck(is_taken, PETSC_COMM_SELF, FW_ERR_EXISTS, "other runs keep taking lock file '%s'", lock);
  open_stores[store->slot].owner    = getpid();
  open_stores[store->slot].has_lock = 1;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What rank 0 holds: whichever rank ends the run removes it */
PetscErrorCode FwStoreShareLock(FwStore store)
{
  PetscFunctionBegin;
  if (store->rank) PetscCall(FindSlot(store));
  PetscCallMPI(MPI_Bcast(open_stores[store->slot].text, LOCK_SIZE, MPI_CHAR, 0, store->comm));
  if (!store->rank) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscSNPrintf(open_stores[store->slot].lock, PATH_MAX, "%s.lock", store->path));
  open_stores[store->slot].owner    = getpid();
  open_stores[store->slot].has_lock = 1;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStoreSetTemporary(FwStore store, const char path[])
{
  PetscFunctionBegin;
  open_stores[store->slot].has_temporary = 0;
  if (!path) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscStrncpy(open_stores[store->slot].temporary, path, PATH_MAX));
  open_stores[store->slot].has_temporary = 1;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Not one that another run has taken meanwhile */
static PetscBool IsOurs(int slot)
{
  const int     descriptor = open(open_stores[slot].lock, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  char          text[LOCK_SIZE];
  const ssize_t n = descriptor < 0 ? -1 : pread(descriptor, text, sizeof text - 1, 0);

  if (descriptor >= 0) close(descriptor);
  if (n < 0) return PETSC_TRUE;
  text[n] = '\0';
  return strcmp(text, open_stores[slot].text) ? PETSC_FALSE : PETSC_TRUE;
}

static void Abandon(int slot)
{
  if ((!open_stores[slot].has_lock && !open_stores[slot].has_temporary) || open_stores[slot].owner != getpid()) return;
  if (open_stores[slot].has_temporary) unlink(open_stores[slot].temporary);
  if (open_stores[slot].has_lock && IsOurs(slot)) unlink(open_stores[slot].lock);
  open_stores[slot].has_temporary = open_stores[slot].has_lock = 0;
}

void FwStoreUnlock(FwStore store)
{
  if (store->slot >= 0 && store->rank) open_stores[store->slot].has_lock = 0;
  if (store->slot >= 0) Abandon(store->slot);
  store->slot = -1;
}

void FwStoreAbandonAll(void)
{
  for (int slot = 0; slot < MAX_OPEN; slot++) Abandon(slot);
}

/* --- the check before a run --------------------------------------------------------------------------------- */

static PetscErrorCode CheckLock(const char path[])
{
  char   lock[PATH_MAX];
  int    descriptor;
  Holder holder;

  PetscFunctionBegin;
  PetscCall(PetscSNPrintf(lock, sizeof lock, "%s.lock", path));
  descriptor = open(lock, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (descriptor < 0) PetscFunctionReturn(PETSC_SUCCESS); /* FwStoreLock() has the last word */
  ReadHolder(descriptor, &holder);
  close(descriptor);
  if (!IsGone(&holder)) PetscCall(RefuseHeld(lock, &holder));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A file with nothing in it is nobody's loss; neither is a link that leads nowhere */
static PetscErrorCode CheckReplaceable(const char path[], PetscBool overwrite)
{
  const PetscBool is_free = (FwStoreIsResult(path) || access(path, F_OK)) ? PETSC_TRUE : PETSC_FALSE;
  struct stat     status;

  PetscFunctionBegin;
  if (!is_free && !stat(path, &status) && (!S_ISREG(status.st_mode) || status.st_size))
    SETERRQ(PETSC_COMM_SELF, FW_ERR_EXISTS,
            "'%s' exists, and is no result of finwidth, or a damaged one: give another -output, or remove it yourself",
            path);
  PetscCheck(overwrite, PETSC_COMM_SELF, FW_ERR_EXISTS, "'%s' exists: give -overwrite to replace it", path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A run on NAME takes NAME.chk, and what has more behind that, for its own, and removes it in the end; /dev/stdout and its like
   are links that rename() would replace */
static PetscErrorCode CheckName(const char path[], const char name[])
{
  const char *mark = strstr(name, ".chk");
  char        target[8];

  PetscFunctionBegin;
  while (mark && mark[4] && mark[4] != '.') mark = strstr(mark + 1, ".chk");
  PetscCheck(!mark, PETSC_COMM_SELF, FW_ERR_FILE, "output '%s': '.chk' is for checkpoints, give another name", path);
  PetscCheck(readlink(path, target, sizeof target) < 6 || memcmp(target, "/proc/", 6), PETSC_COMM_SELF, FW_ERR_FILE,
             "output '%s' is not a file", path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStoreCheckPath(const char path[], PetscBool overwrite)
{
  enum {
    ROOM = 48
  }; /* for "NAME.lock", ".NAME.XXXXXX.tmp", and "NAME.chk.kernel-1234567890.part.previous" of a scan */
  char        folder[PATH_MAX];
  const char *name = strrchr(path, '/');
  struct stat status;

  PetscFunctionBegin;
  name = name ? name + 1 : path;
  PetscCheck(name[0] && strlen(name) <= NAME_MAX - ROOM && strlen(path) < PATH_MAX - ROOM, PETSC_COMM_SELF, FW_ERR_FILE,
             "output '%s': want the name of a file, of at most %d characters", path, NAME_MAX - ROOM);
  FwStoreFolder(path, sizeof folder, folder);
  PetscCheck(!stat(folder, &status) && S_ISDIR(status.st_mode), PETSC_COMM_SELF, FW_ERR_FILE,
             "output '%s': there is no folder '%s'", path, folder);
  PetscCheck(!access(folder, W_OK | X_OK), PETSC_COMM_SELF, FW_ERR_FILE, "output '%s': cannot write to folder '%s': %s",
             path, folder, strerror(errno));
  PetscCall(CheckName(path, name));
  PetscCall(CheckLock(path));
  if (lstat(path, &status)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(S_ISREG(status.st_mode) || S_ISLNK(status.st_mode), PETSC_COMM_SELF, FW_ERR_FILE,
             "output '%s' is not a file", path);
  PetscCall(CheckReplaceable(path, overwrite));
  PetscFunctionReturn(PETSC_SUCCESS);
}
