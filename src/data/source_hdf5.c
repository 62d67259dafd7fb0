/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Examples from two data sets of an HDF5 file, read in blocks of rows with the serial driver.
 *
 * The file may come from anybody: nothing in it may lead to another file (external storage, external links, virtual
 * data sets), no plug-in is loaded for it, and a declared size is compared with the bytes stored before it is believed.
 */

#include "source.h"

#include <hdf5.h>
#include <math.h>
#include <string.h>

enum { MAX_RANK = 4 };

/* compressed data sets: deflate reaches 1032, and more than that only says that the file is not meant seriously */
static const double max_compression = 2000.0;

typedef struct {
  hid_t   file, x;
  int     n_dimension;
  hsize_t size[MAX_RANK]; /* of x */
} Hdf5;

/* --- opening ------------------------------------------------------------------------------------------------ */

static PetscErrorCode OpenFile(Hdf5 *hdf5, const char path[])
{
  PetscInt64 n_byte;
  hid_t      access;

  PetscFunctionBegin;
  PetscCall(FwFileSize(path, &n_byte));
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
  H5PLset_loading_state(0);
  PetscCheck(H5Fis_hdf5(path) > 0, PETSC_COMM_SELF, FW_ERR_INPUT, "'%s' is not an HDF5 file", path);
  access = H5Pcreate(H5P_FILE_ACCESS);
  H5Pset_fapl_sec2(access);
  hdf5->file = H5Fopen(path, H5F_ACC_RDONLY, access);
  H5Pclose(access);
  PetscCheck(hdf5->file >= 0, PETSC_COMM_SELF, FW_ERR_FILE, "'%s' cannot be opened: cut off or damaged", path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Every step of the way must be a hard link: others may lead out of the file */
static PetscErrorCode CheckLinks(const Hdf5 *hdf5, const char path[], const char name[])
{
  char       part[PETSC_MAX_PATH_LEN];
  H5L_info_t link;

  PetscFunctionBegin;
  for (size_t end = 1; end <= strlen(name); end++) {
    if (name[end] != '/' && name[end] != '\0') continue;
    PetscCall(PetscStrncpy(part, name, PetscMin(end + 1, sizeof part)));
    PetscCheck(H5Lexists(hdf5->file, part, H5P_DEFAULT) > 0 && H5Lget_info(hdf5->file, part, &link, H5P_DEFAULT) >= 0,
               PETSC_COMM_SELF, FW_ERR_INPUT, "'%s' has no data set '%s'", path, name);
    PetscCheck(link.type == H5L_TYPE_HARD, PETSC_COMM_SELF, FW_ERR_INPUT,
               "'%s': '%s' is a soft or external link, want the data set itself", path, part);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckStorage(hid_t set, const char path[], const char name[])
{
  const hid_t        list       = H5Dget_create_plist(set);
  const int          n_external = H5Pget_external_count(list);
  const H5D_layout_t layout     = H5Pget_layout(list);

  PetscFunctionBegin;
  H5Pclose(list);
  PetscCheck(n_external == 0 && layout != H5D_VIRTUAL && layout >= 0, PETSC_COMM_SELF, FW_ERR_INPUT,
             "'%s': the numbers of '%s' are stored in other files, want them in this one", path, name);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckType(hid_t set, const char path[], const char name[], size_t *n_byte)
{
  const hid_t type        = H5Dget_type(set);
  const H5T_class_t class = H5Tget_class(type);

  PetscFunctionBegin;
  *n_byte = H5Tget_size(type);
  H5Tclose(type);
  PetscCheck(class == H5T_INTEGER || class == H5T_FLOAT, PETSC_COMM_SELF, FW_ERR_INPUT,
             "'%s': '%s' does not hold numbers", path, name);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sizes as declared; the last ones of a short list are 1 */
static PetscErrorCode GetSizes(hid_t set, const char path[], const char name[], int *n_dimension,
                               hsize_t size[MAX_RANK])
{
  const hid_t space = H5Dget_space(set);
  const int   n     = H5Sget_simple_extent_ndims(space);

  PetscFunctionBegin;
  for (int i = 0; i < MAX_RANK; i++) size[i] = 1;
  if (n > 0 && n <= MAX_RANK) H5Sget_simple_extent_dims(space, size, NULL);
  H5Sclose(space);
  PetscCheck(n > 0 && n <= MAX_RANK, PETSC_COMM_SELF, FW_ERR_INPUT, "'%s': '%s' has %d dimensions, want 1 to %d", path,
             name, n, MAX_RANK);
  for (int i = 0; i < n; i++)
    PetscCheck(size[i] > 0 && size[i] <= PETSC_MPI_INT_MAX, PETSC_COMM_SELF, FW_ERR_INPUT,
               "'%s': size %d of '%s' is %llu, want 1 to %d", path, i, name, (unsigned long long)size[i],
               PETSC_MPI_INT_MAX);
  *n_dimension = n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool HasFilter(hid_t set)
{
  const hid_t list = H5Dget_create_plist(set);
  const int   n    = H5Pget_nfilters(list);

  H5Pclose(list);
  return n > 0 ? PETSC_TRUE : PETSC_FALSE;
}

/* A file of a few bytes may declare any size: rows that were never written would be read as zeros */
static PetscErrorCode CheckStored(hid_t set, const char path[], const char name[], size_t n_byte,
                                  const hsize_t size[MAX_RANK])
{
  const double stored   = (double)H5Dget_storage_size(set);
  const double allowed  = HasFilter(set) ? max_compression * stored : stored;
  double       declared = (double)n_byte;

  PetscFunctionBegin;
  for (int i = 0; i < MAX_RANK; i++) declared *= (double)size[i];
  PetscCheck(declared <= allowed, PETSC_COMM_SELF, FW_ERR_INPUT,
             "'%s': '%s' declares %.0f bytes, of which only %.0f are stored", path, name, declared, stored);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckSet(hid_t set, const char path[], const char name[], int *n_dimension,
                               hsize_t size[MAX_RANK])
{
  size_t n_byte;

  PetscFunctionBegin;
  PetscCall(CheckStorage(set, path, name));
  PetscCall(CheckType(set, path, name, &n_byte));
  PetscCall(GetSizes(set, path, name, n_dimension, size));
  PetscCall(CheckStored(set, path, name, n_byte, size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode OpenSet(Hdf5 *hdf5, const char path[], const char name[], hid_t *set)
{
  PetscFunctionBegin;
  PetscCall(CheckLinks(hdf5, path, name));
  *set = H5Dopen2(hdf5->file, name, H5P_DEFAULT);
  PetscCheck(*set >= 0, PETSC_COMM_SELF, FW_ERR_INPUT, "'%s': '%s' is not a data set", path, name);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- targets ------------------------------------------------------------------------------------------------ */

static PetscErrorCode ReadTargets(FwSource *source, hid_t set)
{
  const FwDataKeys *keys = source->keys;
  FwSourceInfo     *info = &source->info;
  hsize_t           size[MAX_RANK];
  int               n_dimension;
  PetscInt64        n;

  PetscFunctionBegin;
  PetscCall(CheckSet(set, source->path, keys->targets, &n_dimension, size));
  PetscCheck(n_dimension <= 2, PETSC_COMM_SELF, FW_ERR_INPUT, "'%s': '%s' has %d dimensions, want [n] or [n, D]",
             source->path, keys->targets, n_dimension);
  PetscCheck((PetscInt64)size[0] == info->n_example, PETSC_COMM_SELF, FW_ERR_INPUT,
             "'%s': '%s' has %llu examples, '%s' has %" PetscInt64_FMT, source->path, keys->targets,
             (unsigned long long)size[0], keys->inputs, info->n_example);
  info->n_label = (PetscInt)size[1];
  PetscCall(FwCountProduct(info->n_example, info->n_label, source->path, &n));
  PetscCall(PetscMalloc1(n, &source->label));
  PetscCheck(H5Dread(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, source->label) >= 0, PETSC_COMM_SELF,
             FW_ERR_FILE, "'%s': '%s' cannot be read: damaged", source->path, keys->targets);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* [n, N_0], [n, C, L] or [n, C, H, W] */
static PetscErrorCode SettleInputs(FwSource *source, const Hdf5 *hdf5)
{
  FwSourceInfo *info = &source->info;

  PetscFunctionBegin;
  PetscCheck(hdf5->n_dimension >= 2, PETSC_COMM_SELF, FW_ERR_INPUT,
             "'%s': '%s' has one dimension, want [n, N_0], [n, C, L] or [n, C, H, W]", source->path,
             source->keys->inputs);
  *info = (FwSourceInfo){.n_example  = (PetscInt64)hdf5->size[0],
                         .n_training = (PetscInt64)hdf5->size[0],
                         .channels   = hdf5->n_dimension > 2 ? (PetscInt)hdf5->size[1] : 1,
                         .height     = hdf5->n_dimension > 3 ? (PetscInt)hdf5->size[2] : 1,
                         .width      = (PetscInt)hdf5->size[hdf5->n_dimension - 1],
                         .is_image   = hdf5->n_dimension > 3 ? PETSC_TRUE : PETSC_FALSE};
  PetscCheck((double)info->channels * info->height * info->width <= PETSC_MPI_INT_MAX, PETSC_COMM_SELF, FW_ERR_INPUT,
             "'%s': an example of '%s' is too large", source->path, source->keys->inputs);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode OpenHdf5(FwSource *source)
{
  Hdf5          *hdf5;
  hid_t          y;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(PetscNew(&hdf5));
  hdf5->file = hdf5->x = -1;
  source->context      = hdf5;
  PetscCall(OpenFile(hdf5, source->path));
  PetscCall(OpenSet(hdf5, source->path, source->keys->inputs, &hdf5->x));
  PetscCall(CheckSet(hdf5->x, source->path, source->keys->inputs, &hdf5->n_dimension, hdf5->size));
  PetscCall(SettleInputs(source, hdf5));
  if (source->has_no_labels) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(OpenSet(hdf5, source->path, source->keys->targets, &y));
  code = ReadTargets(source, y);
  H5Dclose(y);
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- inputs ------------------------------------------------------------------------------------------------- */

/* `n` neighbouring rows in one go */
static PetscErrorCode ReadRows(FwSource *source, PetscInt64 first, PetscInt64 n, double raw[])
{
  const Hdf5 *hdf5            = source->context;
  hsize_t     start[MAX_RANK] = {(hsize_t)first}, count[MAX_RANK], total = (hsize_t)n;
  hid_t       space, memory;
  herr_t      status;

  PetscFunctionBegin;
  for (int i = 1; i < MAX_RANK; i++) {
    count[i] = hdf5->size[i];
    total *= hdf5->size[i];
  }
  count[0] = (hsize_t)n;
  space    = H5Dget_space(hdf5->x);
  memory   = H5Screate_simple(1, &total, NULL);
  status   = H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL);
  if (status >= 0) status = H5Dread(hdf5->x, H5T_NATIVE_DOUBLE, memory, space, H5P_DEFAULT, raw);
  H5Sclose(memory);
  H5Sclose(space);
  PetscCheck(status >= 0, PETSC_COMM_SELF, FW_ERR_FILE,
             "'%s': '%s' cannot be read at example %" PetscInt64_FMT ": damaged, or compressed in an unknown way",
             source->path, source->keys->inputs, first);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadHdf5(FwSource *source, PetscInt n, const PetscInt64 example[], double raw[], double label[])
{
  const PetscInt64 n_raw = (PetscInt64)source->info.channels * source->info.height * source->info.width;
  PetscInt         run;

  PetscFunctionBegin;
  (void)label;
  for (PetscInt i = 0; i < n; i += run) {
    run = 1;
    while (i + run < n && example[i + run] == example[i] + run) run++;
    PetscCall(ReadRows(source, example[i], run, raw + i * n_raw));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CloseHdf5(FwSource *source)
{
  Hdf5 *hdf5 = source->context;

  PetscFunctionBegin;
  if (!hdf5) PetscFunctionReturn(PETSC_SUCCESS);
  if (hdf5->x >= 0) H5Dclose(hdf5->x);
  if (hdf5->file >= 0) H5Fclose(hdf5->file);
  PetscCall(PetscFree(source->context));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const FwSourceOps FwSourceOps_Hdf5 = {
  .name = "hdf5", .divisor = 1.0, .open = OpenHdf5, .read = ReadHdf5, .close = CloseHdf5};
