/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Arrays of numbers in HDF5 files that others have made.
 */

#include <finwidth/foreign.h>

#include <errno.h>
#include <hdf5.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct FwForeignImpl {
  char    path[PETSC_MAX_PATH_LEN], name[PETSC_MAX_PATH_LEN];
  hid_t   file, set;
  int     n_dim;
  hsize_t size[FW_FOREIGN_MAX_DIM];
};

/* compressed data sets: deflate reaches 1032, and more than that only says that the file is not meant seriously */
static const double max_compression = 2000.0;

PetscErrorCode FwFileSize(const char path[], PetscInt64 *n_byte)
{
  struct stat status;

  PetscFunctionBegin;
  PetscCheck(!stat(path, &status), PETSC_COMM_SELF, FW_ERR_FILE, "cannot open '%s': %s", path, strerror(errno));
  PetscCheck(S_ISREG(status.st_mode), PETSC_COMM_SELF, FW_ERR_FILE, "'%s' is not a file", path);
  PetscCheck(!access(path, R_OK), PETSC_COMM_SELF, FW_ERR_FILE, "cannot open '%s': %s", path, strerror(errno));
  *n_byte = (PetscInt64)status.st_size;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- opening ------------------------------------------------------------------------------------------------ */

static PetscErrorCode OpenFile(const char path[], hid_t *file)
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
  *file = H5Fopen(path, H5F_ACC_RDONLY, access);
  H5Pclose(access);
  PetscCheck(*file >= 0, PETSC_COMM_SELF, FW_ERR_FILE, "'%s' cannot be opened: cut off or damaged", path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Every step of the way must be a hard link: others may lead out of the file */
static PetscErrorCode CheckLinks(const FwForeign set)
{
  char       part[PETSC_MAX_PATH_LEN];
  H5L_info_t link;

  PetscFunctionBegin;
  for (size_t end = 1; end <= strlen(set->name); end++) {
    if (set->name[end] != '/' && set->name[end] != '\0') continue;
    PetscCall(PetscStrncpy(part, set->name, PetscMin(end + 1, sizeof part)));
    PetscCheck(H5Lexists(set->file, part, H5P_DEFAULT) > 0 && H5Lget_info(set->file, part, &link, H5P_DEFAULT) >= 0,
               PETSC_COMM_SELF, FW_ERR_INPUT, "'%s' has no data set '%s'", set->path, set->name);
    PetscCheck(link.type == H5L_TYPE_HARD, PETSC_COMM_SELF, FW_ERR_INPUT,
               "'%s': '%s' is a soft or external link, want the data set itself", set->path, part);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckStorage(const FwForeign set)
{
  const hid_t        list       = H5Dget_create_plist(set->set);
  const int          n_external = H5Pget_external_count(list);
  const H5D_layout_t layout     = H5Pget_layout(list);

  PetscFunctionBegin;
  H5Pclose(list);
  PetscCheck(n_external == 0 && layout != H5D_VIRTUAL && layout >= 0, PETSC_COMM_SELF, FW_ERR_INPUT,
             "'%s': the numbers of '%s' are stored in other files, want them in this one", set->path, set->name);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckType(const FwForeign set, size_t *n_byte)
{
  const hid_t type        = H5Dget_type(set->set);
  const H5T_class_t class = H5Tget_class(type);

  PetscFunctionBegin;
  *n_byte = H5Tget_size(type);
  H5Tclose(type);
  PetscCheck(class == H5T_INTEGER || class == H5T_FLOAT, PETSC_COMM_SELF, FW_ERR_INPUT,
             "'%s': '%s' does not hold numbers", set->path, set->name);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sizes as declared; the last ones of a short list are 1 */
static PetscErrorCode GetSizes(FwForeign set)
{
  const hid_t space = H5Dget_space(set->set);
  const int   n     = H5Sget_simple_extent_ndims(space);

  PetscFunctionBegin;
  for (int i = 0; i < FW_FOREIGN_MAX_DIM; i++) set->size[i] = 1;
  if (n > 0 && n <= FW_FOREIGN_MAX_DIM) H5Sget_simple_extent_dims(space, set->size, NULL);
  H5Sclose(space);
  PetscCheck(n > 0 && n <= FW_FOREIGN_MAX_DIM, PETSC_COMM_SELF, FW_ERR_INPUT,
             "'%s': '%s' has %d dimensions, want 1 to %d", set->path, set->name, n, FW_FOREIGN_MAX_DIM);
  for (int i = 0; i < n; i++)
    PetscCheck(set->size[i] > 0 && set->size[i] <= PETSC_MPI_INT_MAX, PETSC_COMM_SELF, FW_ERR_INPUT,
               "'%s': size %d of '%s' is %llu, want 1 to %d", set->path, i, set->name, (unsigned long long)set->size[i],
               PETSC_MPI_INT_MAX);
  set->n_dim = n;
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
static PetscErrorCode CheckStored(const FwForeign set, size_t n_byte)
{
  const double stored   = (double)H5Dget_storage_size(set->set);
  const double allowed  = HasFilter(set->set) ? max_compression * stored : stored;
  double       declared = (double)n_byte;

  PetscFunctionBegin;
  for (int i = 0; i < FW_FOREIGN_MAX_DIM; i++) declared *= (double)set->size[i];
  PetscCheck(declared <= allowed, PETSC_COMM_SELF, FW_ERR_INPUT,
             "'%s': '%s' declares %.0f bytes, of which only %.0f are stored", set->path, set->name, declared, stored);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode OpenSet(FwForeign set)
{
  size_t n_byte;

  PetscFunctionBegin;
  PetscCall(OpenFile(set->path, &set->file));
  PetscCall(CheckLinks(set));
  set->set = H5Dopen2(set->file, set->name, H5P_DEFAULT);
  PetscCheck(set->set >= 0, PETSC_COMM_SELF, FW_ERR_INPUT, "'%s': '%s' is not a data set", set->path, set->name);
  PetscCall(CheckStorage(set));
  PetscCall(CheckType(set, &n_byte));
  PetscCall(GetSizes(set));
  PetscCall(CheckStored(set, n_byte));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwForeignOpen(const char path[], const char name[], FwForeign *set)
{
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(PetscNew(set));
  (*set)->file = (*set)->set = -1;
  PetscCall(PetscStrncpy((*set)->path, path, sizeof(*set)->path));
  PetscCall(PetscStrncpy((*set)->name, name, sizeof(*set)->name));
  code = OpenSet(*set);
  if (code) PetscCall(FwForeignClose(set));
  PetscFunctionReturn(code);
}

PetscErrorCode FwForeignHas(const char path[], const char name[], PetscBool *has)
{
  char  part[PETSC_MAX_PATH_LEN];
  hid_t file;

  PetscFunctionBegin;
  PetscCall(OpenFile(path, &file));
  *has = PETSC_TRUE;
  for (size_t end = 1; end <= strlen(name) && *has; end++) {
    if (name[end] != '/' && name[end] != '\0') continue;
    PetscCall(PetscStrncpy(part, name, PetscMin(end + 1, sizeof part)));
    *has = H5Lexists(file, part, H5P_DEFAULT) > 0 ? PETSC_TRUE : PETSC_FALSE;
  }
  H5Fclose(file);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwForeignGetSizes(FwForeign set, PetscInt *n_dim, PetscInt64 size[FW_FOREIGN_MAX_DIM])
{
  PetscFunctionBegin;
  *n_dim = set->n_dim;
  for (int i = 0; i < FW_FOREIGN_MAX_DIM; i++) size[i] = (PetscInt64)set->size[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwForeignRead(FwForeign set, PetscInt64 first, PetscInt64 n, double value[])
{
  hsize_t start[FW_FOREIGN_MAX_DIM] = {(hsize_t)first}, count[FW_FOREIGN_MAX_DIM], total = (hsize_t)n;
  hid_t   space, memory;
  herr_t  status;

  PetscFunctionBegin;
  for (int i = 1; i < FW_FOREIGN_MAX_DIM; i++) {
    count[i] = set->size[i];
    total *= set->size[i];
  }
  count[0] = (hsize_t)n;
  space    = H5Dget_space(set->set);
  memory   = H5Screate_simple(1, &total, NULL);
  status   = H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL);
  if (status >= 0) status = H5Dread(set->set, H5T_NATIVE_DOUBLE, memory, space, H5P_DEFAULT, value);
  H5Sclose(memory);
  H5Sclose(space);
  PetscCheck(status >= 0, PETSC_COMM_SELF, FW_ERR_FILE,
             "'%s': '%s' cannot be read at example %" PetscInt64_FMT ": damaged, or compressed in an unknown way",
             set->path, set->name, first);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwForeignClose(FwForeign *set)
{
  PetscFunctionBegin;
  if (!*set) PetscFunctionReturn(PETSC_SUCCESS);
  if ((*set)->set >= 0) H5Dclose((*set)->set);
  if ((*set)->file >= 0) H5Fclose((*set)->file);
  PetscCall(PetscFree(*set));
  PetscFunctionReturn(PETSC_SUCCESS);
}
