/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A spectrum in an HDF5 file, written and read in parallel.
 *
 * Data sets: `header`, the arrays of B (`form0`, `form1`), `labels`, `ones`, `test_kernel`, `test` [P_t][P], of which
 * each rank writes and reads the examples that it holds, and `checksums` [P_t], an xxh64 of each row of it. The
 * attribute `digest` names what was decomposed. Nothing in the file depends on the number of ranks.
 *
 * Behind the end that HDF5 knows stands a seal with an xxh64 of all bytes outside `test`. It is looked at before HDF5
 * is, whose reader has been known to crash on damaged metadata.
 */

#include "spectrum_impl.h"

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

enum { VERSION = 2, N_HEADER = 12, N_PIECE = 6 };

static const size_t at_once = (size_t)1 << 26; /* numbers in one transfer: MPI counts bytes with an int */
static const char   magic[] = "FWSPECT1";

/* All words as in memory: a file is read on the kind of machine that wrote it, as doubles are */
typedef struct {
  char     magic[8];
  uint64_t length;                  /* of the file without the seal */
  uint64_t test_offset, test_bytes; /* the part that is not sealed here: its rows have their own checksums */
  uint64_t digest;                  /* of the rest */
  uint64_t self;                    /* of the words above */
} Seal;

typedef struct {
  const char *name;
  double     *value;
  size_t      n;
} Piece;

/* What is written or read, beside the test examples: small pieces, which every rank holds */
typedef struct {
  FwSpectrum  s;
  FwGrid      grid;
  const char *path;
  hid_t       file;
  double      header[N_HEADER];
  PetscInt    n_piece;
  Piece       piece[N_PIECE];
  uint64_t   *checksum; /* [n_test] of each row of `test` */
} Image;

#define H5Try(image, ...)                                                                                  \
  PetscCheck((__VA_ARGS__) >= 0, PETSC_COMM_SELF, FW_ERR_FILE,                                             \
             "'%s': HDF5 failed in %s: is the disk full, the size of files limited, or the file damaged?", \
             (image)->path, #__VA_ARGS__)

#define SysTry(path, condition) PetscCheck(condition, PETSC_COMM_SELF, FW_ERR_FILE, "'%s': %s", path, strerror(errno))

/* --- the seal; on one rank ---------------------------------------------------------------------------------- */

static PetscErrorCode HashRange(const char path[], FILE *file, XXH64_state_t *state, uint64_t from, uint64_t to)
{
  enum { CHUNK = 1 << 20 };
  unsigned char *buffer;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1(CHUNK, &buffer));
  SysTry(path, !fseeko(file, (off_t)from, SEEK_SET));
  while (from < to) {
    const size_t n = (size_t)PetscMin((uint64_t)CHUNK, to - from);

    PetscCheck(fread(buffer, 1, n, file) == n, PETSC_COMM_SELF, FW_ERR_FILE, "'%s' ends too early", path);
    XXH64_update(state, buffer, n);
    from += n;
  }
  PetscCall(PetscFree(buffer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode HashOutside(const char path[], FILE *file, const Seal *seal, uint64_t *digest)
{
  XXH64_state_t *state = XXH64_createState();

  PetscFunctionBegin;
  PetscCheck(state, PETSC_COMM_SELF, PETSC_ERR_MEM, "no memory for a checksum");
  XXH64_reset(state, 0);
  PetscCall(HashRange(path, file, state, 0, seal->test_offset));
  PetscCall(HashRange(path, file, state, seal->test_offset + seal->test_bytes, seal->length));
  *digest = XXH64_digest(state);
  XXH64_freeState(state);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Seal a file that HDF5 has closed, and have it on the disk */
static PetscErrorCode WriteSeal(const char path[], uint64_t test_offset, uint64_t test_bytes)
{
  Seal  seal = {.test_offset = test_offset, .test_bytes = test_bytes};
  FILE *file = fopen(path, "r+b");

  PetscFunctionBegin;
  SysTry(path, file);
  SysTry(path, !fseeko(file, 0, SEEK_END));
  memcpy(seal.magic, magic, sizeof seal.magic);
  seal.length = (uint64_t)ftello(file);
  PetscCall(HashOutside(path, file, &seal, &seal.digest));
  seal.self = XXH64(&seal, offsetof(Seal, self), 0);
  SysTry(path, !fseeko(file, 0, SEEK_END) && fwrite(&seal, sizeof seal, 1, file) == 1 && !fflush(file));
  SysTry(path, !fsync(fileno(file)));
  SysTry(path, !fclose(file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckSeal(const char path[])
{
  Seal     seal;
  FILE    *file   = fopen(path, "rb");
  uint64_t digest = 0, length;

  PetscFunctionBegin;
  PetscCheck(file, PETSC_COMM_SELF, FW_ERR_FILE, "cannot read '%s': %s", path, strerror(errno));
  SysTry(path, !fseeko(file, 0, SEEK_END));
  length = (uint64_t)ftello(file);
  PetscCheck(length > sizeof seal && !fseeko(file, -(off_t)sizeof seal, SEEK_END) &&
               fread(&seal, sizeof seal, 1, file) == 1 && !memcmp(seal.magic, magic, sizeof seal.magic) &&
               seal.self == XXH64(&seal, offsetof(Seal, self), 0) && seal.length + sizeof seal == length &&
               seal.test_offset + seal.test_bytes <= seal.length,
             PETSC_COMM_SELF, FW_ERR_FILE, "'%s' is no saved decomposition, or its end is damaged", path);
  PetscCall(HashOutside(path, file, &seal, &digest));
  fclose(file);
  PetscCheck(digest == seal.digest, PETSC_COMM_SELF, FW_ERR_FILE, "'%s' is damaged: its checksum does not fit", path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

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
  PetscInt   n = 0;

  PetscFunctionBegin;
  PetscCall(s->form->arrays(s, &n, array, size));
  for (PetscInt i = 0; i < n; i++) image->piece[i] = (Piece){i ? "form1" : "form0", array[i], size[i]};
  image->piece[n++] = (Piece){"labels", s->w, (size_t)s->n_label * s->n};
  image->piece[n++] = (Piece){"ones", s->h, (size_t)s->n};
  if (s->n_test) image->piece[n++] = (Piece){"test_kernel", s->test_kernel, (size_t)s->n_test};
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

/* --- data sets ---------------------------------------------------------------------------------------------- */

static PetscErrorCode MakeDataset(Image *image, const char name[], hid_t type, size_t n, size_t row)
{
  const hsize_t size[2] = {n, row};
  hid_t         list, space, set;

  PetscFunctionBegin;
  H5Try(image, list = H5Pcreate(H5P_DATASET_CREATE));
  H5Try(image, H5Pset_obj_track_times(list, 0));
  H5Try(image, H5Pset_alloc_time(list, H5D_ALLOC_TIME_EARLY));
  H5Try(image, H5Pset_fill_time(list, H5D_FILL_TIME_NEVER));
  H5Try(image, space = H5Screate_simple(row ? 2 : 1, size, NULL));
  H5Try(image, set = H5Dcreate2(image->file, name, type, space, H5P_DEFAULT, list, H5P_DEFAULT));
  H5Try(image, H5Dclose(set));
  H5Try(image, H5Sclose(space));
  H5Try(image, H5Pclose(list));
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

/* All data sets, by all ranks: HDF5 wants that */
static PetscErrorCode MakeDatasets(Image *image, const char digest[])
{
  const FwSpectrum s = image->s;

  PetscFunctionBegin;
  PetscCall(MakeDigest(image, digest));
  PetscCall(MakeDataset(image, "header", H5T_NATIVE_DOUBLE, N_HEADER, 0));
  for (PetscInt i = 0; i < image->n_piece; i++)
    PetscCall(MakeDataset(image, image->piece[i].name, H5T_NATIVE_DOUBLE, image->piece[i].n, 0));
  if (!s->n_test) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(MakeDataset(image, "checksums", H5T_NATIVE_UINT64, (size_t)s->n_test, 0));
  PetscCall(MakeDataset(image, "test", H5T_NATIVE_DOUBLE, (size_t)s->n_test, (size_t)s->n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Write, or read, rows `first` to `first + n - 1` of a data set whose rows have `row` numbers (0: one dimension) */
static PetscErrorCode Transfer(Image *image, const char name[], PetscBool write, hid_t type, size_t first, size_t n,
                               size_t row, void *value)
{
  const hsize_t start[2] = {first, 0}, count[2] = {n, row};
  hid_t         set, space, memory;

  PetscFunctionBegin;
  H5Try(image, set = H5Dopen2(image->file, name, H5P_DEFAULT));
  H5Try(image, space = H5Dget_space(set));
  H5Try(image, H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL));
  H5Try(image, memory = H5Screate_simple(row ? 2 : 1, count, NULL));
  if (write)
    H5Try(image, H5Dwrite(set, type, memory, space, H5P_DEFAULT, value));
  else
    H5Try(image, H5Dread(set, type, memory, space, H5P_DEFAULT, value));
  H5Try(image, H5Sclose(memory));
  H5Try(image, H5Sclose(space));
  H5Try(image, H5Dclose(set));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What all ranks hold, by one of them */
static PetscErrorCode TransferPieces(Image *image, PetscBool write)
{
  PetscFunctionBegin;
  for (PetscInt k = 0; k < image->n_piece; k++) {
    const Piece *piece = &image->piece[k];

    for (size_t i = 0; i < piece->n; i += at_once)
      PetscCall(Transfer(image, piece->name, write, H5T_NATIVE_DOUBLE, i, PetscMin(at_once, piece->n - i), 0,
                         piece->value + i));
  }
  if (image->s->n_test)
    PetscCall(Transfer(image, "checksums", write, H5T_NATIVE_UINT64, 0, (size_t)image->s->n_test, 0, image->checksum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* This rank's test examples */
static PetscErrorCode TransferTest(Image *image, PetscBool write)
{
  FwSpectrum   s     = image->s;
  const size_t first = (size_t)s->grid->rank * (size_t)s->test_block, n_local = (size_t)s->n_test_local;
  const size_t rows = PetscMax(1, at_once / (size_t)s->n);

  PetscFunctionBegin;
  for (size_t t = 0; t < n_local; t += rows)
    PetscCall(Transfer(image, "test", write, H5T_NATIVE_DOUBLE, first + t, PetscMin(rows, n_local - t), (size_t)s->n,
                       s->test + t * (size_t)s->n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- opening ------------------------------------------------------------------------------------------------ */

static PetscErrorCode OpenFile(Image *image, MPI_Comm comm, PetscBool create)
{
  hid_t access;

  PetscFunctionBegin;
  H5Try(image, H5Eset_auto2(H5E_DEFAULT, NULL, NULL));
  H5Try(image, access = H5Pcreate(H5P_FILE_ACCESS));
  H5Try(image, H5Pset_fapl_mpio(access, comm, MPI_INFO_NULL));
  H5Try(image, H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V18));
  H5Try(image, H5Pset_fclose_degree(access, H5F_CLOSE_STRONG));
  image->file =
    create ? H5Fcreate(image->path, H5F_ACC_TRUNC, H5P_DEFAULT, access) : H5Fopen(image->path, H5F_ACC_RDONLY, access);
  PetscCheck(image->file >= 0, PETSC_COMM_SELF, FW_ERR_FILE, "'%s' cannot be %s by HDF5", image->path,
             create ? "created" : "read");
  H5Try(image, H5Pclose(access));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CloseFile(Image *image)
{
  const hid_t file = image->file;

  PetscFunctionBegin;
  image->file = H5I_INVALID_HID;
  if (file >= 0) H5Try(image, H5Fclose(file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- writing ------------------------------------------------------------------------------------------------ */

/* On rank 0: the folder is there and has room. HDF5 crashes on a full disk, so it is asked for before. */
static PetscErrorCode CheckRoom(const Image *image)
{
  const double   margin = 16777216.0;
  double         bytes  = margin + 8.0 * (double)image->s->n * (double)image->s->n_test;
  struct statvfs disk;
  FILE          *file = fopen(image->path, "wb");

  PetscFunctionBegin;
  PetscCheck(file && !fclose(file), PETSC_COMM_SELF, FW_ERR_FILE, "cannot create '%s': %s", image->path,
             strerror(errno));
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
  PetscCall(PetscMalloc1(s->n_test, &image->checksum));
  PetscCall(HashTest(s, image->checksum));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, image->checksum, s->n_test, MPI_UINT64_T, MPI_SUM, image->grid->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What this rank writes */
static PetscErrorCode WriteOwn(Image *image)
{
  PetscFunctionBegin;
  if (image->grid->rank == 0) {
    PetscCall(Transfer(image, "header", PETSC_TRUE, H5T_NATIVE_DOUBLE, 0, N_HEADER, 0, image->header));
    PetscCall(TransferPieces(image, PETSC_TRUE));
  }
  PetscCall(TransferTest(image, PETSC_TRUE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FindTest(Image *image, uint64_t *offset, uint64_t *bytes)
{
  hid_t   set;
  haddr_t address;

  PetscFunctionBegin;
  *offset = *bytes = 0;
  if (!image->s->n_test) PetscFunctionReturn(PETSC_SUCCESS);
  H5Try(image, set = H5Dopen2(image->file, "test", H5P_DEFAULT));
  address = H5Dget_offset(set);
  PetscCheck(address != HADDR_UNDEF, PETSC_COMM_SELF, FW_ERR_FILE, "'%s': HDF5 has no place for the test examples",
             image->path);
  H5Try(image, H5Dclose(set));
  *offset = (uint64_t)address;
  *bytes  = (uint64_t)image->s->n_test * (uint64_t)image->s->n * sizeof(double);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteImage(Image *image, const char digest[])
{
  const MPI_Comm comm   = image->grid->comm;
  uint64_t       offset = 0, bytes = 0;

  PetscFunctionBegin;
  PetscCall(FwErrorAgreeAny(comm, OpenFile(image, comm, PETSC_TRUE)));
  PetscCall(FwErrorAgreeAny(comm, MakeDatasets(image, digest)));
  PetscCall(FwErrorAgreeAny(comm, WriteOwn(image)));
  PetscCall(FwErrorAgreeAny(comm, FindTest(image, &offset, &bytes)));
  PetscCall(FwErrorAgreeAny(comm, CloseFile(image)));
  PetscCall(FwErrorAgree(comm, 0, image->grid->rank ? 0 : WriteSeal(image->path, offset, bytes)));
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
  PetscCheck(strlen(path) + 8 < sizeof temporary, comm, FW_ERR_FILE, "'%s' is too long a path", path);
  PetscCall(PetscSNPrintf(temporary, sizeof temporary, "%s.tmp", path));
  image.path = temporary;
  FillHeader(s, image.header);
  PetscCall(ListPieces(&image));
  code = FwErrorAgree(comm, 0, s->grid->rank ? 0 : CheckRoom(&image));
  if (!code) code = GatherChecksums(&image);
  if (!code) code = WriteImage(&image, digest);
  if (code) {
    if (image.file >= 0) (void)H5Fclose(image.file);
    if (!s->grid->rank) (void)unlink(temporary);
  }
  PetscCall(PetscFree(image.checksum));
  PetscCall(code);
  PetscCall(FwErrorAgree(comm, 0, s->grid->rank ? 0 : Rename(temporary, path)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- reading ------------------------------------------------------------------------------------------------ */

static PetscErrorCode CheckDigest(Image *image, const char digest[])
{
  hid_t  attribute, type;
  size_t size;
  char  *text;

  PetscFunctionBegin;
  H5Try(image, attribute = H5Aopen(image->file, "digest", H5P_DEFAULT));
  H5Try(image, type = H5Aget_type(attribute));
  size = H5Tget_size(type);
  PetscCall(PetscCalloc1(size + 1, &text));
  H5Try(image, H5Aread(attribute, type, text));
  H5Try(image, H5Tclose(type));
  H5Try(image, H5Aclose(attribute));
  PetscCheck(!strcmp(text, digest), PETSC_COMM_SELF, FW_ERR_FILE,
             "'%s' holds the decomposition of another kernel: its digest is '%s', that of the input is '%s'",
             image->path, text, digest);
  PetscCall(PetscFree(text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* On one rank: everything about the file that does not need the spectrum */
static PetscErrorCode ReadHeader(Image *image, const char digest[])
{
  PetscFunctionBegin;
  PetscCall(CheckSeal(image->path));
  PetscCall(OpenFile(image, MPI_COMM_SELF, PETSC_FALSE));
  PetscCall(CheckDigest(image, digest));
  PetscCall(Transfer(image, "header", PETSC_FALSE, H5T_NATIVE_DOUBLE, 0, N_HEADER, 0, image->header));
  PetscCall(CloseFile(image));
  PetscCheck(image->header[0] == VERSION, PETSC_COMM_SELF, FW_ERR_FILE,
             "'%s' has version %.6g of the format, this program reads %d", image->path, image->header[0], VERSION);
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

static PetscErrorCode SharePieces(Image *image)
{
  const MPI_Comm comm = image->grid->comm;

  PetscFunctionBegin;
  for (PetscInt k = 0; k < image->n_piece; k++) {
    const Piece *piece = &image->piece[k];

    for (size_t i = 0; i < piece->n; i += at_once)
      PetscCallMPI(MPI_Bcast(piece->value + i, (int)PetscMin(at_once, piece->n - i), MPI_DOUBLE, 0, comm));
  }
  PetscCallMPI(MPI_Bcast(image->checksum, image->s->n_test, MPI_UINT64_T, 0, comm));
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

static PetscErrorCode ReadTest(Image *image)
{
  PetscFunctionBegin;
  PetscCall(TransferTest(image, PETSC_FALSE));
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
  PetscCall(MakeSpectrum(image));
  PetscCall(FwErrorAgreeAny(comm, OpenFile(image, comm, PETSC_FALSE)));
  PetscCall(FwErrorAgree(comm, 0, rank ? 0 : TransferPieces(image, PETSC_FALSE)));
  PetscCall(SharePieces(image));
  FwSpectrumSumUnseen(image->s);
  PetscCall(FwErrorAgreeAny(comm, ReadTest(image)));
  PetscCall(FwSpectrumSplitTest(image->s));
  PetscCall(FwErrorAgreeAny(comm, CloseFile(image)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwSpectrumLoad(FwGrid grid, const char path[], const char digest[], FwSpectrum *spectrum)
{
  Image          image = {.grid = grid, .path = path, .file = H5I_INVALID_HID};
  PetscErrorCode code;

  PetscFunctionBegin;
  *spectrum = NULL;
  code      = ReadImage(&image, digest);
  if (image.file >= 0) (void)H5Fclose(image.file);
  PetscCall(PetscFree(image.checksum));
  if (code) PetscCall(FwSpectrumDestroy(&image.s));
  PetscCall(code);
  PetscCall(FwSpectrumFreeze(image.s));
  *spectrum = image.s;
  PetscFunctionReturn(PETSC_SUCCESS);
}
