/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Digits in the IDX format (MNIST and its relatives), plain or compressed by gzip.
 *
 * An IDX file is a magic number, one big-endian 32-bit size per dimension, and bytes. zlib reads both plain and
 * compressed files, but cannot go back cheaply: images are read once, in file order, and the bytes of those that will
 * be used are kept.
 */

#include "source.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

enum { MAX_PAIR = 2, N_CLASS = 10 };

static const uint32_t magic_images = 0x00000803, magic_labels = 0x00000801;
static const double   max_inflation = 1100.0; /* deflate packs at most 1032 bytes into one */

typedef struct {
  char       images[PETSC_MAX_PATH_LEN], labels[PETSC_MAX_PATH_LEN];
  PetscInt64 n; /* examples */
} Pair;

typedef struct {
  Pair           pair[MAX_PAIR];
  int            n_pair;
  PetscInt64     n_pixel; /* per image */
  PetscInt64    *slot;    /* [n_example] place in `kept`, or -1 */
  unsigned char *kept;    /* [n_kept, n_pixel] */
} Idx;

/* --- reading ------------------------------------------------------------------------------------------------ */

/* A short read is the fault of the header, a failed check sum that of the disk or the network */
static PetscErrorCode ReadBytes(gzFile file, const char path[], PetscInt64 n, void *buffer)
{
  const PetscInt64 most = 1 << 30; /* counts of zlib are ints */
  PetscInt64       done = 0;

  PetscFunctionBegin;
  while (done < n) {
    const int got = gzread(file, (char *)buffer + done, (unsigned)PetscMin(most, n - done));
    int       zlib_error;

    gzerror(file, &zlib_error);
    PetscCheck(got >= 0 || zlib_error == Z_BUF_ERROR, PETSC_COMM_SELF, FW_ERR_INPUT,
               "'%s' cannot be read: damaged or not a gzip file", path);
    PetscCheck(got > 0, PETSC_COMM_SELF, FW_ERR_INPUT, "'%s' is shorter than its header says, or cut off", path);
    done += got;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ExpectEnd(gzFile file, const char path[])
{
  char      byte;
  const int got = gzread(file, &byte, 1);
  int       zlib_error;

  PetscFunctionBegin;
  gzerror(file, &zlib_error);
  PetscCheck(got >= 0 && (zlib_error == Z_OK || zlib_error == Z_STREAM_END), PETSC_COMM_SELF, FW_ERR_INPUT,
             "'%s' cannot be read to its end: damaged or cut off", path);
  PetscCheck(got == 0, PETSC_COMM_SELF, FW_ERR_INPUT, "'%s' is longer than its header says", path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static uint32_t BigEndian(const unsigned char b[4])
{
  return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* Before anything of the declared size is allocated */
static PetscErrorCode CheckDeclaredSize(gzFile file, const char path[], int n_size, const PetscInt64 size[])
{
  PetscInt64 n_byte, declared = 1;
  PetscBool  fits = PETSC_TRUE;

  PetscFunctionBegin;
  PetscCall(FwFileSize(path, &n_byte));
  for (int i = 0; i < n_size; i++) {
    PetscCheck(size[i] > 0, PETSC_COMM_SELF, FW_ERR_INPUT, "'%s': size %d in its header is 0", path, i);
    fits = (fits && !__builtin_mul_overflow(declared, size[i], &declared)) ? PETSC_TRUE : PETSC_FALSE;
  }
  if (fits && gzdirect(file)) fits = declared == n_byte - 4 * (n_size + 1) ? PETSC_TRUE : PETSC_FALSE;
  if (fits) fits = (double)declared <= max_inflation * (double)n_byte ? PETSC_TRUE : PETSC_FALSE;
  PetscCheck(fits, PETSC_COMM_SELF, FW_ERR_INPUT,
             "'%s': the %" PetscInt64_FMT " examples that its header declares do not fit a file of %" PetscInt64_FMT
             " bytes",
             path, size[0], n_byte);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadHeader(gzFile file, const char path[], uint32_t magic, int n_size, PetscInt64 size[])
{
  unsigned char word[4];

  PetscFunctionBegin;
  PetscCall(ReadBytes(file, path, 4, word));
  PetscCheck(BigEndian(word) == magic, PETSC_COMM_SELF, FW_ERR_INPUT,
             "'%s' begins with 0x%08x, an IDX file of %s begins with 0x%08x", path, BigEndian(word),
             magic == magic_images ? "images" : "labels", magic);
  for (int i = 0; i < n_size; i++) {
    PetscCall(ReadBytes(file, path, 4, word));
    size[i] = BigEndian(word);
  }
  PetscCall(CheckDeclaredSize(file, path, n_size, size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode OpenFile(const char path[], gzFile *file)
{
  PetscInt64 n_byte;

  PetscFunctionBegin;
  PetscCall(FwFileSize(path, &n_byte));
  *file = gzopen(path, "rb");
  PetscCheck(*file, PETSC_COMM_SELF, FW_ERR_FILE, "cannot open '%s'", path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- finding the files -------------------------------------------------------------------------------------- */

/* <part>-images-idx3-ubyte and the like, plain before compressed */
static PetscErrorCode FindFile(const char folder[], const char part[], const char what[], char path[PETSC_MAX_PATH_LEN],
                               PetscBool *is_found)
{
  static const char *const separators[] = {"-", "."}, *const ends[] = {"", ".gz"};
  const int n_size = strcmp(what, "images") ? 1 : 3;

  PetscFunctionBegin;
  *is_found = PETSC_FALSE;
  for (int i = 0; i < 4 && !*is_found; i++) {
    char name[64];

    PetscCall(
      PetscSNPrintf(name, sizeof name, "%s-%s%sidx%d-ubyte%s", part, what, separators[i % 2], n_size, ends[i / 2]));
    PetscCall(FwPathJoin(folder, name, path));
    *is_found = FwPathExists(path);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const char *const parts[MAX_PAIR] = {"train", "t10k"}, *const contents[] = {"images", "labels"};

static PetscErrorCode FileOfIdx(const FwSource *source, PetscInt i, char path[PETSC_MAX_PATH_LEN])
{
  const FwDataKeys *keys     = source->keys;
  const PetscBool   is_named = keys->images[0] ? PETSC_TRUE : PETSC_FALSE;
  PetscBool         is_found;

  PetscFunctionBegin;
  path[0] = '\0';
  if (i >= (is_named ? 2 : 2 * MAX_PAIR)) PetscFunctionReturn(PETSC_SUCCESS);
  if (is_named)
    PetscCall(FwPathJoin(source->path, i ? keys->labels : keys->images, path));
  else
    PetscCall(FindFile(source->path, parts[i / 2], contents[i % 2], path, &is_found));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FindPair(const char folder[], const char part[], Pair *pair, PetscBool *is_found)
{
  PetscBool has_labels;

  PetscFunctionBegin;
  PetscCall(FindFile(folder, part, "images", pair->images, is_found));
  PetscCall(FindFile(folder, part, "labels", pair->labels, &has_labels));
  PetscCheck(*is_found == has_labels, PETSC_COMM_SELF, FW_ERR_FILE, "'%s' has a file of %s %s, but none of %s", folder,
             part, has_labels ? "labels" : "images", has_labels ? "images" : "labels");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FindPairs(FwSource *source, Idx *idx)
{
  const FwDataKeys *keys = source->keys;

  PetscFunctionBegin;
  PetscCheck(FwPathExists(source->path), PETSC_COMM_SELF, FW_ERR_FILE, "the folder '%s' does not exist", source->path);
  if (keys->images[0]) {
    PetscCall(FwPathJoin(source->path, keys->images, idx->pair[0].images));
    PetscCall(FwPathJoin(source->path, keys->labels, idx->pair[0].labels));
    idx->n_pair = 1;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (int p = 0; p < MAX_PAIR; p++) {
    PetscBool is_found;

    PetscCall(FindPair(source->path, parts[p], &idx->pair[idx->n_pair], &is_found));
    if (is_found) idx->n_pair++;
    if (is_found && p == 1 && idx->n_pair == 1) source->info.n_training = -1; /* only a test pair: see OpenIdx */
  }
  PetscCheck(idx->n_pair, PETSC_COMM_SELF, FW_ERR_FILE,
             "no images in '%s': want train-images-idx3-ubyte or t10k-images-idx3-ubyte (or .gz), or the keys "
             "'data_images' and 'data_labels'",
             source->path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- labels and sizes --------------------------------------------------------------------------------------- */

static PetscErrorCode ReadImageHeader(FwSource *source, Pair *pair, gzFile file)
{
  FwSourceInfo *info = &source->info;
  PetscInt64    size[3];

  PetscFunctionBegin;
  PetscCall(ReadHeader(file, pair->images, magic_images, 3, size));
  PetscCheck(size[1] <= PETSC_MPI_INT_MAX / size[2], PETSC_COMM_SELF, FW_ERR_INPUT,
             "'%s': images of %" PetscInt64_FMT " x %" PetscInt64_FMT " pixels are too large", pair->images, size[1],
             size[2]);
  PetscCheck(!info->height || (size[1] == info->height && size[2] == info->width), PETSC_COMM_SELF, FW_ERR_INPUT,
             "'%s' has images of %" PetscInt64_FMT " x %" PetscInt64_FMT
             " pixels, the training images have %" PetscInt_FMT " x %" PetscInt_FMT,
             pair->images, size[1], size[2], info->height, info->width);
  pair->n      = size[0];
  info->height = (PetscInt)size[1];
  info->width  = (PetscInt)size[2];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CopyLabels(FwSource *source, const Pair *pair, const unsigned char byte[])
{
  PetscFunctionBegin;
  for (PetscInt64 i = 0; i < pair->n; i++) {
    PetscCheck(byte[i] < N_CLASS, PETSC_COMM_SELF, FW_ERR_INPUT,
               "'%s': the label of example %" PetscInt64_FMT " is %d, want 0 to %d", pair->labels, i, (int)byte[i],
               N_CLASS - 1);
    source->label[source->info.n_example + i] = byte[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadLabels(FwSource *source, const Pair *pair, gzFile file)
{
  unsigned char *byte;
  PetscInt64     n;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(ReadHeader(file, pair->labels, magic_labels, 1, &n));
  PetscCheck(n == pair->n, PETSC_COMM_SELF, FW_ERR_INPUT,
             "'%s' has %" PetscInt64_FMT " labels, '%s' has %" PetscInt64_FMT " images", pair->labels, n, pair->images,
             pair->n);
  PetscCall(PetscRealloc((size_t)(source->info.n_example + n) * sizeof(double), &source->label));
  PetscCall(PetscMalloc1(n, &byte));
  code = ReadBytes(file, pair->labels, n, byte);
  if (!code) code = ExpectEnd(file, pair->labels);
  if (!code) code = CopyLabels(source, pair, byte);
  PetscCall(PetscFree(byte));
  PetscFunctionReturn(code);
}

static PetscErrorCode OpenPair(FwSource *source, Pair *pair)
{
  gzFile         file;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(OpenFile(pair->images, &file));
  code = ReadImageHeader(source, pair, file);
  gzclose(file);
  PetscCall(code);
  PetscCall(OpenFile(pair->labels, &file));
  code = ReadLabels(source, pair, file);
  gzclose(file);
  PetscCall(code);
  source->info.n_example += pair->n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode OpenIdx(FwSource *source)
{
  FwSourceInfo *info = &source->info;
  Idx          *idx;

  PetscFunctionBegin;
  PetscCall(PetscNew(&idx));
  source->context = idx;
  *info           = (FwSourceInfo){.channels = 1, .n_label = 1, .is_image = PETSC_TRUE};
  PetscCall(FindPairs(source, idx));
  for (int p = 0; p < idx->n_pair; p++) PetscCall(OpenPair(source, &idx->pair[p]));
  info->n_training = info->n_training < 0 ? 0 : idx->pair[0].n;
  idx->n_pixel     = (PetscInt64)info->height * info->width;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- images ------------------------------------------------------------------------------------------------- */

/* Goes through the whole file, so that a damaged end is noticed */
static PetscErrorCode KeepImages(Idx *idx, const Pair *pair, PetscInt64 first, gzFile file)
{
  unsigned char *image;
  PetscInt64     size[3];
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  PetscCall(ReadHeader(file, pair->images, magic_images, 3, size));
  PetscCheck(size[0] == pair->n && size[1] * size[2] == idx->n_pixel, PETSC_COMM_SELF, FW_ERR_FILE,
             "'%s' has changed while it was read", pair->images);
  PetscCall(PetscMalloc1(idx->n_pixel, &image));
  for (PetscInt64 i = 0; i < pair->n && !code; i++) {
    const PetscInt64 slot = idx->slot[first + i];

    code = ReadBytes(file, pair->images, idx->n_pixel, slot < 0 ? image : idx->kept + slot * idx->n_pixel);
  }
  if (!code) code = ExpectEnd(file, pair->images);
  PetscCall(PetscFree(image));
  PetscFunctionReturn(code);
}

static PetscErrorCode PrepareIdx(FwSource *source, PetscInt64 n, const PetscInt64 example[])
{
  Idx       *idx = source->context;
  PetscInt64 n_byte, first = 0;

  PetscFunctionBegin;
  PetscCall(FwCountProduct(n, idx->n_pixel, source->path, &n_byte));
  PetscCall(PetscMalloc1(n_byte, &idx->kept));
  PetscCall(PetscMalloc1(source->info.n_example, &idx->slot));
  for (PetscInt64 i = 0; i < source->info.n_example; i++) idx->slot[i] = -1;
  for (PetscInt64 i = 0; i < n; i++) idx->slot[example[i]] = i;
  for (int p = 0; p < idx->n_pair; p++) {
    gzFile         file;
    PetscErrorCode code;

    PetscCall(OpenFile(idx->pair[p].images, &file));
    code = KeepImages(idx, &idx->pair[p], first, file);
    gzclose(file);
    PetscCall(code);
    first += idx->pair[p].n;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadIdx(FwSource *source, PetscInt n, const PetscInt64 example[], double raw[], double label[])
{
  const Idx *idx = source->context;

  PetscFunctionBegin;
  (void)label;
  for (PetscInt64 i = 0; i < n; i++) {
    const unsigned char *image = idx->kept + idx->slot[example[i]] * idx->n_pixel;

    for (PetscInt64 j = 0; j < idx->n_pixel; j++) raw[i * idx->n_pixel + j] = image[j];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CloseIdx(FwSource *source)
{
  Idx *idx = source->context;

  PetscFunctionBegin;
  if (!idx) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree(idx->slot));
  PetscCall(PetscFree(idx->kept));
  PetscCall(PetscFree(source->context));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const FwSourceOps FwSourceOps_Mnist = {.name    = "mnist",
                                       .n_class = N_CLASS,
                                       .divisor = 255.0,
                                       .file    = FileOfIdx,
                                       .open    = OpenIdx,
                                       .prepare = PrepareIdx,
                                       .read    = ReadIdx,
                                       .close   = CloseIdx};
