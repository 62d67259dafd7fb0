/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A spectrum in a file that HDF5 can read: every rank writes and reads its own part.
 *
 * Data sets: `header`, the arrays of B (`form0`, `form1`), `labels`, `ones`, `test_kernel`, `checksums` [P_t], an xxh64 of
 * each row of `test` [P_t][P], which stands last: each rank writes and reads the examples that it holds. The attribute
 * `digest` names what was decomposed. Nothing in the file depends on the number of ranks.
 *
 * HDF5 makes what stands before `test` in the memory of rank 0, and never meets the disk (disk.h). Behind the end that it
 * knows stands a seal: where everything is, and an xxh64 of all bytes outside `test`. Reading needs no more than that.
 */

#include "spectrum_impl.h"

#include <finwidth/disk.h>

#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <xxhash.h>

enum { VERSION = 2, N_HEADER = 12, N_PIECE = 8, N_DIGEST = 256 };

static const size_t at_once    = (size_t)1 << 26; /* numbers in one transfer: MPI counts bytes with an int */
static const size_t n_metadata = (size_t)1 << 14; /* bytes, ample for eight data sets */
static const char   magic[]    = "FWSPECT2";

/* All words as in memory: a file is read on the kind of machine that wrote it, as doubles are */
typedef struct {
  char     magic[8];
  uint64_t length;          /* of the file without the seal */
  uint64_t head;            /* bytes before `test`, which reaches to the end */
  uint64_t offset[N_PIECE]; /* of the pieces */
  char     name[N_DIGEST];  /* of what was decomposed */
  uint64_t digest;          /* of the head */
  uint64_t self;            /* of the words above */
} Seal;

typedef struct {
  const char *name;
  void       *value;
  size_t      n; /* of eight bytes each */
} Piece;

/* What is written or read, beside the test examples: small pieces, which every rank holds. The first is the header, the
   last are the checksums of the rows of `test` */
typedef struct {
  FwSpectrum   s;
  FwGrid       grid;
  const char  *path;
  hid_t        file;
  FwMemoryFile memory; /* on rank 0: the head */
  Seal         seal;   /* the same on all ranks once it is known */
  double       header[N_HEADER];
  PetscInt     n_piece;
  Piece        piece[N_PIECE];
  uint64_t    *checksum; /* [n_test] of each row of `test` */
} Image;

#define H5Try(image, ...) \
  PetscCheck((__VA_ARGS__) >= 0, PETSC_COMM_SELF, FW_ERR_FILE, "'%s': HDF5 failed in %s", (image)->path, #__VA_ARGS__)

#define SysTry(path, condition) PetscCheck(condition, PETSC_COMM_SELF, FW_ERR_FILE, "'%s': %s", path, strerror(errno))

/* --- what is in it ------------------------------------------------------------------------------------------ */

static void FillHeader(const FwSpectrum s, double header[])
{
  const double value[N_HEADER] = {VERSION,   s->n,   s->form->bandwidth, s->n_test, s->rank,   s->is_singular, s->trace,
                                  s->label2, s->fit, s->factor,          s->bias,   s->n_label};

  memcpy(header, value, sizeof value);
}

static PetscErrorCode ListPieces(Image *image)
{
  FwSpectrum s = image->s;
  double    *array[2];
  size_t     size[2];
  PetscInt   n_array, n = 0;

  PetscFunctionBegin;
  PetscCall(s->form->arrays(s, &n_array, array, size));
  image->piece[n++] = (Piece){"header", image->header, N_HEADER};
  for (PetscInt i = 0; i < n_array; i++) image->piece[n++] = (Piece){i ? "form1" : "form0", array[i], size[i]};
  image->piece[n++] = (Piece){"labels", s->w, (size_t)s->n_label * (size_t)s->n};
  image->piece[n++] = (Piece){"ones", s->h, (size_t)s->n};
  if (s->n_test) image->piece[n++] = (Piece){"test_kernel", s->test_kernel, (size_t)s->n_test};
  if (s->n_test) image->piece[n++] = (Piece){"checksums", image->checksum, (size_t)s->n_test};
  image->n_piece = n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* xxh64 of this rank's rows; zero elsewhere */
static PetscErrorCode HashTest(const FwSpectrum s, uint64_t checksum[])
{
  const PetscInt first = PetscMin(s->grid->rank * s->test_block, s->n_test);

  PetscFunctionBegin;
  PetscCall(PetscArrayzero(checksum, s->n_test));
  for (PetscInt t = 0; t < s->n_test_local; t++)
    checksum[first + t] = XXH64(s->test + (size_t)t * s->n, (size_t)s->n * sizeof *s->test, 0);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the head; on one rank ---------------------------------------------------------------------------------- */

/* Its values are allocated where it is made, and written nowhere if there are none */
static PetscErrorCode MakeDataset(Image *image, const char name[], hid_t type, size_t n, size_t row, const void *value,
                                  uint64_t *offset)
{
  const hsize_t size[2] = {n, row};
  hid_t         list, space, set;
  haddr_t       address;

  PetscFunctionBegin;
  H5Try(image, list = H5Pcreate(H5P_DATASET_CREATE));
  H5Try(image, H5Pset_obj_track_times(list, 0));
  H5Try(image, H5Pset_alloc_time(list, H5D_ALLOC_TIME_EARLY));
  H5Try(image, H5Pset_fill_time(list, H5D_FILL_TIME_NEVER));
  H5Try(image, space = H5Screate_simple(row ? 2 : 1, size, NULL));
  H5Try(image, set = H5Dcreate2(image->file, name, type, space, H5P_DEFAULT, list, H5P_DEFAULT));
  if (value) H5Try(image, H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, value));
  address = H5Dget_offset(set);
  H5Try(image, H5Dclose(set));
  H5Try(image, H5Sclose(space));
  H5Try(image, H5Pclose(list));
  PetscCheck(!n || address != HADDR_UNDEF, PETSC_COMM_SELF, PETSC_ERR_LIB, "HDF5 has no place for '%s'", name);
  *offset = n ? (uint64_t)address : 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MakeDigest(Image *image, const char digest[])
{
  hid_t type, space, attribute;

  PetscFunctionBegin;
  H5Try(image, type = H5Tcopy(H5T_C_S1));
  H5Try(image, H5Tset_size(type, strlen(digest) + 1));
  H5Try(image, space = H5Screate(H5S_SCALAR));
  H5Try(image, attribute = H5Acreate2(image->file, "digest", type, space, H5P_DEFAULT, H5P_DEFAULT));
  H5Try(image, H5Awrite(attribute, type, digest));
  H5Try(image, H5Aclose(attribute));
  H5Try(image, H5Sclose(space));
  H5Try(image, H5Tclose(type));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* `test` comes last: all that HDF5 writes stands before it */
static PetscErrorCode MakeDatasets(Image *image, const char digest[])
{
  const FwSpectrum s = image->s;

  PetscFunctionBegin;
  PetscCall(MakeDigest(image, digest));
  for (PetscInt i = 0; i < image->n_piece; i++) {
    const Piece *piece = &image->piece[i];
    const hid_t  type  = piece->value == image->checksum ? H5T_NATIVE_UINT64 : H5T_NATIVE_DOUBLE;

    PetscCall(MakeDataset(image, piece->name, type, piece->n, 0, piece->value, &image->seal.offset[i]));
  }
  if (s->n_test)
    PetscCall(MakeDataset(image, "test", H5T_NATIVE_DOUBLE, (size_t)s->n_test, (size_t)s->n, NULL, &image->seal.head));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CloseFile(Image *image)
{
  const hid_t file = image->file;

  PetscFunctionBegin;
  image->file = H5I_INVALID_HID;
  H5Try(image, H5Fclose(file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The memory may be longer than the file, whose end is in its superblock, or shorter where nothing was written */
static PetscErrorCode CutHead(Image *image)
{
  enum { END_OF_FILE = 28 };
  Seal          *seal   = &image->seal;
  FwMemoryFile  *memory = &image->memory;
  const uint64_t test   = 8 * (uint64_t)image->s->n * (uint64_t)image->s->n_test;
  unsigned char *head;

  PetscFunctionBegin;
  memcpy(&seal->length, memory->byte + END_OF_FILE, sizeof seal->length);
  if (!test) seal->head = seal->length;
  PetscCheck(seal->head + test == seal->length, PETSC_COMM_SELF, PETSC_ERR_LIB, "HDF5 has put data behind the last");
  for (size_t i = (size_t)seal->head; i < memory->n; i++)
    PetscCheck(!memory->byte[i], PETSC_COMM_SELF, PETSC_ERR_LIB, "HDF5 has put metadata behind the data");
  head = realloc(memory->byte, (size_t)seal->head);
  PetscCheck(head, PETSC_COMM_SELF, PETSC_ERR_MEM, "no memory for '%s'", image->path);
  memory->byte = head;
  if (memory->n < seal->head) memset(head + memory->n, 0, (size_t)seal->head - memory->n);
  memory->n = (size_t)seal->head;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MakeHead(Image *image, const char digest[])
{
  Seal *seal = &image->seal;

  PetscFunctionBegin;
  H5Try(image, H5Eset_auto2(H5E_DEFAULT, NULL, NULL));
  H5Try(image, image->file = FwMemoryFileCreate(&image->memory, H5P_DEFAULT, n_metadata));
  PetscCall(MakeDatasets(image, digest));
  PetscCall(CloseFile(image));
  PetscCall(CutHead(image));
  memcpy(seal->magic, magic, sizeof seal->magic);
  PetscCall(PetscStrncpy(seal->name, digest, sizeof seal->name));
  seal->digest = XXH64(image->memory.byte, image->memory.n, 0);
  seal->self   = XXH64(seal, offsetof(Seal, self), 0);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- writing ------------------------------------------------------------------------------------------------ */

/* On rank 0: the disk has room. To say so at once is better than to fail on the way */
static PetscErrorCode CheckRoom(const Image *image)
{
  const double   margin = 16777216.0;
  double         bytes  = margin + 8.0 * (double)image->s->n * (double)image->s->n_test;
  struct statvfs disk;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < image->n_piece; i++) bytes += 8.0 * (double)image->piece[i].n;
  SysTry(image->path, !statvfs(image->path, &disk));
  PetscCheck((double)disk.f_bavail * (double)disk.f_frsize >= bytes, PETSC_COMM_SELF, FW_ERR_FILE,
             "'%s' needs %.2f GiB and the disk has %.2f GiB left", image->path, bytes / 1073741824.0,
             (double)disk.f_bavail * (double)disk.f_frsize / 1073741824.0);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GatherChecksums(Image *image)
{
  const FwSpectrum s = image->s;

  PetscFunctionBegin;
  PetscCall(HashTest(s, image->checksum));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, image->checksum, s->n_test, MPI_UINT64_T, MPI_SUM, image->grid->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Where this rank's test examples stand in the file, and in memory: one piece of both */
static size_t TestOffset(const Image *image)
{
  const FwSpectrum s = image->s;

  return (size_t)image->seal.head + 8 * (size_t)s->grid->rank * (size_t)s->test_block * (size_t)s->n;
}

static size_t TestBytes(const Image *image)
{
  return 8 * (size_t)image->s->n_test_local * (size_t)image->s->n;
}

static PetscErrorCode WriteParts(const Image *image, int file)
{
  PetscFunctionBegin;
  PetscCall(FwDiskWrite(file, image->path, TestOffset(image), TestBytes(image), image->s->test));
  if (!image->grid->rank) {
    PetscCall(FwDiskWrite(file, image->path, 0, image->memory.n, image->memory.byte));
    PetscCall(FwDiskWrite(file, image->path, (size_t)image->seal.length, sizeof image->seal, &image->seal));
  }
  SysTry(image->path, !fsync(file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What this rank has; on the disk afterwards. O_DSYNC: an NFS client may otherwise fill the rest of a page at the end of its
   part with zeros, which are the neighbour's numbers. */
static PetscErrorCode WriteOwn(const Image *image)
{
  const int      file = open(image->path, O_WRONLY | O_CLOEXEC | O_DSYNC);
  PetscErrorCode code;

  PetscFunctionBegin;
  SysTry(image->path, file >= 0);
  code = WriteParts(image, file);
  SysTry(image->path, !close(file) || code);
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteImage(Image *image, const char digest[])
{
  const MPI_Comm    comm = image->grid->comm;
  const PetscMPIInt rank = image->grid->rank;

  PetscFunctionBegin;
  PetscCall(FwErrorAgree(comm, 0, rank ? 0 : CheckRoom(image)));
  PetscCall(GatherChecksums(image));
  PetscCall(FwErrorAgree(comm, 0, rank ? 0 : MakeHead(image, digest)));
  PetscCallMPI(MPI_Bcast(&image->seal, (int)sizeof image->seal, MPI_BYTE, 0, comm));
  PetscCall(FwErrorAgreeAny(comm, WriteOwn(image)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Rename(const char from[], const char to[])
{
  PetscFunctionBegin;
  SysTry(to, !rename(from, to));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSpectrumSave(FwSpectrum s, const char path[], const char digest[])
{
  const MPI_Comm comm  = FwGridComm(s->grid);
  Image          image = {.s = s, .grid = s->grid, .file = H5I_INVALID_HID};
  char           temporary[PETSC_MAX_PATH_LEN];
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCheck(strlen(digest) < N_DIGEST, comm, PETSC_ERR_PLIB, "'%s' is too long a digest", digest);
  PetscCall(FwDiskMakeBeside(comm, path, sizeof temporary, temporary));
  image.path = temporary;
  FillHeader(s, image.header);
  PetscCall(PetscMalloc1(s->n_test, &image.checksum));
  PetscCall(ListPieces(&image));
  code = WriteImage(&image, digest);
  if (!code) code = FwErrorAgree(comm, 0, s->grid->rank ? 0 : Rename(temporary, path));
  if (code && !s->grid->rank) (void)unlink(temporary);
  if (image.file >= 0) (void)H5Fclose(image.file);
  free(image.memory.byte);
  PetscCall(PetscFree(image.checksum));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- reading ------------------------------------------------------------------------------------------------ */

/* The end of a file of so many bytes */
static PetscErrorCode ReadSeal(Image *image, int file, off_t n_byte)
{
  const size_t length = (size_t)n_byte - sizeof image->seal; /* wrong where it is too short, which is seen first */
  Seal        *seal   = &image->seal;

  PetscFunctionBegin;
  PetscCheck(n_byte > (off_t)sizeof *seal, PETSC_COMM_SELF, FW_ERR_FILE, "'%s' is no saved decomposition, or cut off",
             image->path);
  PetscCall(FwDiskRead(file, image->path, length, sizeof *seal, seal));
  PetscCheck(!memcmp(seal->magic, magic, sizeof seal->magic) && seal->self == XXH64(seal, offsetof(Seal, self), 0) &&
               seal->length == length && seal->head <= length && seal->head >= 8 * N_HEADER &&
               seal->offset[0] <= seal->head - 8 * N_HEADER,
             PETSC_COMM_SELF, FW_ERR_FILE, "'%s' is no saved decomposition, or its end is damaged", image->path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadHead(Image *image, int file)
{
  FwMemoryFile *memory = &image->memory;
  struct stat   status;

  PetscFunctionBegin;
  SysTry(image->path, !fstat(file, &status));
  PetscCheck(S_ISREG(status.st_mode), PETSC_COMM_SELF, FW_ERR_FILE, "'%s' is not a file", image->path);
  PetscCall(ReadSeal(image, file, status.st_size));
  memory->n    = (size_t)image->seal.head;
  memory->byte = malloc(memory->n);
  PetscCheck(memory->byte, PETSC_COMM_SELF, PETSC_ERR_MEM, "no memory for '%s'", image->path);
  PetscCall(FwDiskRead(file, image->path, 0, memory->n, memory->byte));
  PetscCheck(image->seal.digest == XXH64(memory->byte, memory->n, 0), PETSC_COMM_SELF, FW_ERR_FILE,
             "'%s' is damaged: its checksum does not fit", image->path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* On one rank: everything about the file that does not need the spectrum */
static PetscErrorCode ReadHeader(Image *image, const char digest[])
{
  const int      file = open(image->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCheck(file >= 0, PETSC_COMM_SELF, FW_ERR_FILE, "cannot read '%s': %s", image->path, strerror(errno));
  code = ReadHead(image, file);
  close(file);
  PetscCall(code);
  PetscCheck(!strcmp(image->seal.name, digest), PETSC_COMM_SELF, FW_ERR_FILE,
             "'%s' holds the decomposition of another kernel: its digest is '%s', that of the input is '%s'",
             image->path, image->seal.name, digest);
  memcpy(image->header, image->memory.byte + image->seal.offset[0], sizeof image->header);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* An empty spectrum of the sizes in the header */
static PetscErrorCode MakeSpectrum(Image *image)
{
  const double         *header = image->header;
  const FwSpectrumForm *form   = FwSpectrumFindForm((PetscInt)header[2]);
  FwSpectrum            s;

  PetscFunctionBegin;
  PetscCheck(form, image->grid->comm, FW_ERR_FILE, "'%s' has the unknown bandwidth %.6g", image->path, header[2]);
  PetscCall(FwSpectrumMake(image->grid, (PetscInt)header[1], form, &s));
  image->s = s;
  PetscCall(form->create(s));
  FwSpectrumShareTest(s, (PetscInt)header[3]);
  s->rank        = (PetscInt)header[4];
  s->is_singular = header[5] != 0.0 ? PETSC_TRUE : PETSC_FALSE;
  s->trace       = header[6];
  s->label2      = header[7];
  s->fit         = header[8];
  s->factor      = header[9];
  s->bias        = header[10];
  PetscCall(FwSpectrumAllocateLabels(s, (PetscInt)header[11]));
  PetscCall(PetscMalloc1(s->n_test, &s->test_kernel));
  PetscCall(PetscMalloc1(s->n_test, &image->checksum));
  PetscCall(FwSpectrumAllocateTest(s));
  PetscCall(ListPieces(image));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* On one rank: from the head to where they belong */
static PetscErrorCode TakePieces(Image *image)
{
  const Seal *seal = &image->seal;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < image->n_piece; i++) {
    const Piece *piece = &image->piece[i];

    PetscCheck(seal->offset[i] <= seal->head && piece->n <= (seal->head - seal->offset[i]) / 8, PETSC_COMM_SELF,
               FW_ERR_FILE, "'%s': '%s' does not fit in", image->path, piece->name);
    memcpy(piece->value, image->memory.byte + seal->offset[i], 8 * piece->n);
  }
  PetscCheck(TestOffset(image) + 8 * (size_t)image->s->n_test * (size_t)image->s->n == seal->length, PETSC_COMM_SELF,
             FW_ERR_FILE, "'%s': the test examples do not fit in", image->path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SharePieces(Image *image)
{
  PetscFunctionBegin;
  for (PetscInt k = 0; k < image->n_piece; k++) {
    const Piece *piece = &image->piece[k];

    for (size_t i = 0; i < piece->n; i += at_once)
      PetscCallMPI(
        MPI_Bcast((double *)piece->value + i, (int)PetscMin(at_once, piece->n - i), MPI_DOUBLE, 0, image->grid->comm));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckTest(const Image *image)
{
  const FwSpectrum s     = image->s;
  const PetscInt   first = PetscMin(s->grid->rank * s->test_block, s->n_test);
  uint64_t        *found;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(s->n_test, &found));
  PetscCall(HashTest(s, found));
  for (PetscInt t = first; t < first + s->n_test_local; t++)
    PetscCheck(found[t] == image->checksum[t], PETSC_COMM_SELF, FW_ERR_FILE,
               "'%s' is damaged at test example %" PetscInt_FMT ": its checksum does not fit", image->path, t);
  PetscCall(PetscFree(found));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* This rank's test examples */
static PetscErrorCode ReadTest(Image *image)
{
  const int      file = open(image->path, O_RDONLY | O_CLOEXEC);
  PetscErrorCode code;

  PetscFunctionBegin;
  SysTry(image->path, file >= 0);
  code = FwDiskRead(file, image->path, TestOffset(image), TestBytes(image), image->s->test);
  close(file);
  PetscCall(code);
  PetscCall(CheckTest(image));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadImage(Image *image, const char digest[])
{
  const MPI_Comm    comm = image->grid->comm;
  const PetscMPIInt rank = image->grid->rank;

  PetscFunctionBegin;
  PetscCall(FwErrorAgree(comm, 0, rank ? 0 : ReadHeader(image, digest)));
  PetscCallMPI(MPI_Bcast(image->header, N_HEADER, MPI_DOUBLE, 0, comm));
  PetscCallMPI(MPI_Bcast(&image->seal, (int)sizeof image->seal, MPI_BYTE, 0, comm));
  PetscCall(MakeSpectrum(image));
  PetscCall(FwErrorAgree(comm, 0, rank ? 0 : TakePieces(image)));
  PetscCall(SharePieces(image));
  FwSpectrumSumUnseen(image->s);
  PetscCall(FwErrorAgreeAny(comm, ReadTest(image)));
  PetscCall(FwSpectrumSplitTest(image->s));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSpectrumLoad(FwGrid grid, const char path[], const char digest[], FwSpectrum *spectrum)
{
  Image          image = {.grid = grid, .path = path};
  PetscErrorCode code;

  PetscFunctionBegin;
  *spectrum = NULL;
  code      = ReadImage(&image, digest);
  free(image.memory.byte);
  PetscCall(PetscFree(image.checksum));
  if (code) PetscCall(FwSpectrumDestroy(&image.s));
  PetscCall(code);
  PetscCall(FwSpectrumFreeze(image.s));
  *spectrum = image.s;
  PetscFunctionReturn(PETSC_SUCCESS);
}
