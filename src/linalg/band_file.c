/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A reduction under way in a file, so that it can go on later, on any number of ranks.
 *
 * The file is a head, the 64 x 64 tiles of the lower triangle, column by column, and a tail of what is small: T and the
 * band of the block columns that are done, and an xxh64 of each tile. Every rank writes and reads its own tiles; nothing
 * says whose they were. Written beside and renamed.
 */

#include "band.h"

#include <finwidth/disk.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

static const char   magic[]    = "FWBAND01";
static const size_t head_bytes = 4096, tile_bytes = BLOCK_SIZE * sizeof(double);

/* All words as in memory: a file is read on the kind of machine that wrote it */
typedef struct {
  char     magic[8];
  uint64_t n, n_done;
  double   before[2];
  uint64_t kernel; /* digest of the text that names the kernel */
  uint64_t tail;   /* of all that stands behind the tiles */
  uint64_t self;   /* of the words above */
} Head;

typedef struct {
  const char  *path;
  FwReduction *r;
  int          file;
  size_t       n_tile;
  uint64_t    *checksum; /* [n_tile] */
} Image;

#define SysTry(path, condition) PetscCheck(condition, PETSC_COMM_SELF, FW_ERR_FILE, "'%s': %s", path, strerror(errno))

/* --- tiles -------------------------------------------------------------------------------------------------- */

/* Tile (i, j), i >= j, among those of the lower triangle */
static size_t TileIndex(PetscInt n_block, PetscInt i, PetscInt j)
{
  return (size_t)j * (size_t)n_block - (size_t)j * (size_t)(j - 1) / 2 - (size_t)j + (size_t)i;
}

static size_t CountTiles(PetscInt n_block)
{
  return TileIndex(n_block, n_block, n_block);
}

/* Between a tile that begins at local row and column and 64 x 64 numbers */
static void MoveTile(FwMatrix a, PetscInt row, PetscInt column, PetscBool out, double tile[])
{
  const PetscInt m = PetscMin(BLOCK, a->m_local - row), n = PetscMin(BLOCK, a->n_local - column);

  for (PetscInt j = 0; j < n; j++) {
    double *value = a->value + row + (size_t)(column + j) * (size_t)a->m_local;

    memcpy(out ? tile + (size_t)j * BLOCK : value, out ? value : tile + (size_t)j * BLOCK, (size_t)m * sizeof *value);
  }
}

typedef PetscErrorCode TileFunction(Image *image, PetscInt row, PetscInt column, size_t index, double tile[]);

static PetscErrorCode WriteTile(Image *image, PetscInt row, PetscInt column, size_t index, double tile[])
{
  PetscFunctionBegin;
  PetscCall(PetscArrayzero(tile, BLOCK_SIZE));
  MoveTile(image->r->reflectors.v, row, column, PETSC_TRUE, tile);
  image->checksum[index] = XXH64(tile, tile_bytes, 0);
  PetscCall(FwDiskWrite(image->file, image->path, head_bytes + index * tile_bytes, tile_bytes, tile));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadTile(Image *image, PetscInt row, PetscInt column, size_t index, double tile[])
{
  PetscFunctionBegin;
  PetscCall(FwDiskRead(image->file, image->path, head_bytes + index * tile_bytes, tile_bytes, tile));
  PetscCheck(image->checksum[index] == XXH64(tile, tile_bytes, 0), PETSC_COMM_SELF, FW_ERR_FILE,
             "'%s' is damaged: remove it to start anew", image->path);
  MoveTile(image->r->reflectors.v, row, column, PETSC_FALSE, tile);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* This rank's tiles of the lower triangle. Not collective */
static PetscErrorCode VisitTiles(Image *image, int flags, TileFunction *function)
{
  FwMatrix a = image->r->reflectors.v;
  double  *tile;

  PetscFunctionBegin;
  image->file = open(image->path, flags | O_CLOEXEC | O_NOFOLLOW);
  SysTry(image->path, image->file >= 0);
  PetscCall(PetscMalloc1(BLOCK_SIZE, &tile));
  for (PetscInt column = 0; column < a->n_local; column += BLOCK)
    for (PetscInt row = 0; row < a->m_local; row += BLOCK) {
      const PetscInt i = FwMatrixRow(a, row) / BLOCK, j = FwMatrixColumn(a, column) / BLOCK;

      if (i >= j) PetscCall(function(image, row, column, TileIndex(image->r->band.n_block, i, j), tile));
    }
  PetscCall(PetscFree(tile));
  SysTry(image->path, flags == O_RDONLY || !fsync(image->file));
  SysTry(image->path, !close(image->file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- head and tail; on one rank ----------------------------------------------------------------------------- */

enum { N_PIECE = 4 };

/* T, the band, the checksums: what stands behind the tiles */
static void ListTail(const Image *image, void *piece[N_PIECE], size_t bytes[N_PIECE])
{
  FwReduction *r = image->r;

  piece[0] = r->reflectors.t;
  piece[1] = r->band.diagonal;
  piece[2] = r->band.below;
  piece[3] = image->checksum;
  bytes[0] = bytes[1] = bytes[2] = (size_t)r->n_done * tile_bytes;
  bytes[3]                       = image->n_tile * sizeof *image->checksum;
}

static uint64_t HashTail(void *const piece[N_PIECE], const size_t bytes[N_PIECE])
{
  uint64_t hash = 0;

  for (int i = 0; i < N_PIECE; i++) hash = XXH64(piece[i], bytes[i], hash);
  return hash;
}

static PetscErrorCode WriteEnds(Image *image, const char digest[])
{
  FwReduction *r = image->r;
  Head         head;
  void        *piece[N_PIECE];
  size_t       bytes[N_PIECE], at = head_bytes + image->n_tile * tile_bytes;

  PetscFunctionBegin;
  ListTail(image, piece, bytes);
  head = (Head){
    .n      = (uint64_t)r->band.n,
    .n_done = (uint64_t)r->n_done,
    .before = {r->before[0], r->before[1]},
    .kernel = XXH64(digest, strlen(digest), 0),
    .tail   = HashTail(piece, bytes)
  };
  memcpy(head.magic, magic, sizeof head.magic);
  head.self   = XXH64(&head, offsetof(Head, self), 0);
  image->file = open(image->path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
  SysTry(image->path, image->file >= 0);
  for (int i = 0; i < N_PIECE; at += bytes[i++])
    PetscCall(FwDiskWrite(image->file, image->path, at, bytes[i], piece[i]));
  PetscCall(FwDiskWrite(image->file, image->path, 0, sizeof head, &head));
  SysTry(image->path, !fsync(image->file) && !close(image->file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadHead(Image *image, const char digest[], Head *head)
{
  PetscFunctionBegin;
  image->file = open(image->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  SysTry(image->path, image->file >= 0);
  PetscCall(FwDiskRead(image->file, image->path, 0, sizeof *head, head));
  SysTry(image->path, !close(image->file));
  PetscCheck(!memcmp(head->magic, magic, sizeof head->magic) && head->self == XXH64(head, offsetof(Head, self), 0),
             PETSC_COMM_SELF, FW_ERR_FILE, "'%s' is no unfinished reduction, or damaged: remove it to start anew",
             image->path);
  PetscCheck(head->kernel == XXH64(digest, strlen(digest), 0), PETSC_COMM_SELF, FW_ERR_FILE,
             "'%s' holds the unfinished reduction of another kernel: remove it to start anew", image->path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadTail(Image *image, const Head *head)
{
  void  *piece[N_PIECE];
  size_t bytes[N_PIECE], at = head_bytes + image->n_tile * tile_bytes;

  PetscFunctionBegin;
  ListTail(image, piece, bytes);
  image->file = open(image->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  SysTry(image->path, image->file >= 0);
  for (int i = 0; i < N_PIECE; at += bytes[i++])
    PetscCall(FwDiskRead(image->file, image->path, at, bytes[i], piece[i]));
  SysTry(image->path, !close(image->file));
  PetscCheck(HashTail(piece, bytes) == head->tail, PETSC_COMM_SELF, FW_ERR_FILE,
             "'%s' is damaged: remove it to start anew", image->path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- saving ------------------------------------------------------------------------------------------------- */

/* Blocks and checksums have one owner each, and are zero elsewhere: sums are exact */
static PetscErrorCode GatherEnds(Image *image, FwReduction *whole)
{
  const FwReduction *r      = image->r;
  const FwGrid       grid   = r->reflectors.v->grid;
  void              *sum    = grid->rank ? NULL : MPI_IN_PLACE;
  PetscMPIInt        n_tile = 0, n_band = 0;

  PetscFunctionBegin;
  PetscCall(PetscMPIIntCast((PetscInt)image->n_tile, &n_tile));
  PetscCall(PetscMPIIntCast(r->n_done * BLOCK_SIZE, &n_band));
  PetscCallMPI(MPI_Reduce(sum ? sum : image->checksum, image->checksum, n_tile, MPI_UINT64_T, MPI_SUM, 0, grid->comm));
  PetscCall(FwBandCreate(r->band.n, &whole->band));
  PetscCallMPI(MPI_Reduce(r->band.diagonal, whole->band.diagonal, n_band, MPI_DOUBLE, MPI_SUM, 0, grid->comm));
  PetscCallMPI(MPI_Reduce(r->band.below, whole->band.below, n_band, MPI_DOUBLE, MPI_SUM, 0, grid->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SaveImage(Image *image, const char digest[])
{
  const FwGrid grid  = image->r->reflectors.v->grid;
  FwReduction  whole = *image->r;

  PetscFunctionBegin;
  PetscCall(FwErrorAgreeAny(grid->comm, VisitTiles(image, O_WRONLY, WriteTile)));
  PetscCall(GatherEnds(image, &whole));
  image->r = &whole;
  PetscCall(FwErrorAgree(grid->comm, 0, grid->rank ? 0 : WriteEnds(image, digest)));
  PetscCall(FwBandDestroy(&whole.band));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Rename(const char from[], const char to[])
{
  PetscFunctionBegin;
  SysTry(to, !rename(from, to));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwReductionSave(FwReduction *r, const char path[], const char digest[])
{
  const FwGrid   grid = r->reflectors.v->grid;
  char           temporary[PETSC_MAX_PATH_LEN];
  Image          image = {.r = r, .path = temporary, .n_tile = CountTiles(r->band.n_block)};
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(FwDiskMakeBeside(grid->comm, path, sizeof temporary, temporary));
  PetscCall(PetscCalloc1(image.n_tile, &image.checksum));
  code = SaveImage(&image, digest);
  if (code && !grid->rank) (void)unlink(temporary);
  PetscCall(PetscFree(image.checksum));
  PetscCall(code);
  PetscCall(FwErrorAgree(grid->comm, 0, grid->rank ? 0 : Rename(temporary, path)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- loading ------------------------------------------------------------------------------------------------ */

/* Everything of the head's sizes, empty */
static PetscErrorCode MakeReduction(FwGrid grid, const Head *head, FwReduction *r)
{
  FwMatrix matrix;

  PetscFunctionBegin;
  PetscCall(FwMatrixCreate(grid, (PetscInt)head->n, (PetscInt)head->n, &matrix));
  PetscCall(FwReductionBegin(&matrix, head->before, r));
  r->n_done = (PetscInt)head->n_done;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwReductionLoad(FwGrid grid, const char path[], const char digest[], FwReduction *r)
{
  Image image = {.r = r, .path = path};
  Head  head  = {.n = 0};

  PetscFunctionBegin;
  PetscCall(FwErrorAgree(grid->comm, 0, grid->rank ? 0 : ReadHead(&image, digest, &head)));
  PetscCallMPI(MPI_Bcast(&head, (int)sizeof head, MPI_BYTE, 0, grid->comm));
  PetscCall(MakeReduction(grid, &head, r));
  image.n_tile = CountTiles(r->band.n_block);
  PetscCall(PetscCalloc1(image.n_tile, &image.checksum));
  PetscCall(FwErrorAgree(grid->comm, 0, grid->rank ? 0 : ReadTail(&image, &head))); /* the band stays with rank 0 */
  PetscCallMPI(MPI_Bcast(image.checksum, (int)image.n_tile, MPI_UINT64_T, 0, grid->comm));
  PetscCallMPI(MPI_Bcast(r->reflectors.t, (int)(r->n_done * BLOCK_SIZE), MPI_DOUBLE, 0, grid->comm));
  PetscCall(FwErrorAgreeAny(grid->comm, VisitTiles(&image, O_RDONLY, ReadTile)));
  PetscCall(PetscFree(image.checksum));
  PetscFunctionReturn(PETSC_SUCCESS);
}
