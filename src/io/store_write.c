/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Arrays and attributes into a file in memory, laid out so that the same values give the same bytes.
 */

#include "store_impl.h"

#include <hdf5_hl.h>
#include <stdlib.h>
#include <string.h>

static const size_t largest_chunk = (size_t)1 << 20; /* bytes */

/* No object times, and links in the order in which they were made, which netCDF readers want */
static PetscErrorCode MakeGroupList(FwStore store, hid_t class, hid_t *list)
{
  PetscFunctionBegin;
  H5Call(store, *list = H5Pcreate(class));
  H5Call(store, H5Pset_obj_track_times(*list, 0));
  H5Call(store, H5Pset_link_creation_order(*list, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the file in memory ------------------------------------------------------------------------------------- */

PetscErrorCode FwStoreCreateFile(FwStore store)
{
  hid_t creation;

  PetscFunctionBegin;
  PetscCall(MakeGroupList(store, H5P_FILE_CREATE, &creation));
  H5Call(store, store->file = FwMemoryFileCreate(&store->memory, creation, 0));
  H5Call(store, H5Pclose(creation));
  PetscCall(FwStorePutText(store, "/", "schema", "finwidth"));
  PetscCall(FwStorePutInteger(store, "/", "schema_version", FW_STORE_SCHEMA));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- attributes --------------------------------------------------------------------------------------------- */

static PetscErrorCode PutAttribute(FwStore store, const char path[], const char name[], hid_t type, const void *value)
{
  hid_t  object, space, attribute;
  htri_t exists;

  PetscFunctionBegin;
  H5Call(store, object = H5Oopen(store->file, path, H5P_DEFAULT));
  H5Call(store, exists = H5Aexists(object, name));
  if (exists) H5Call(store, H5Adelete(object, name));
  H5Call(store, space = H5Screate(H5S_SCALAR));
  H5Call(store, attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT));
  H5Call(store, H5Awrite(attribute, type, value));
  H5Call(store, H5Aclose(attribute));
  H5Call(store, H5Sclose(space));
  H5Call(store, H5Oclose(object));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of variable length: h5py then gives str, and the text may be longer than the 64 KiB of an object header */
PetscErrorCode FwStorePutText(FwStore store, const char path[], const char name[], const char text[])
{
  hid_t type;

  PetscFunctionBegin;
  H5Call(store, type = H5Tcopy(H5T_C_S1));
  H5Call(store, H5Tset_size(type, H5T_VARIABLE));
  H5Call(store, H5Tset_cset(type, H5T_CSET_UTF8));
  PetscCall(PutAttribute(store, path, name, type, &text));
  H5Call(store, H5Tclose(type));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStorePutInteger(FwStore store, const char path[], const char name[], PetscInt64 value)
{
  PetscFunctionBegin;
  PetscCall(PutAttribute(store, path, name, H5T_STD_I64LE, &value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- data sets ---------------------------------------------------------------------------------------------- */

static PetscErrorCode MakeGroups(FwStore store, const char path[])
{
  char *prefix;
  hid_t list, group;

  PetscFunctionBegin;
  PetscCall(MakeGroupList(store, H5P_GROUP_CREATE, &list));
  PetscCall(PetscStrallocpy(path, &prefix));
  for (char *slash = strchr(prefix + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    PetscBool exists;

    *slash = '\0';
    PetscCall(FwStoreExists(store, prefix, &exists));
    if (!exists) {
      H5Call(store, group = H5Gcreate2(store->file, prefix, H5P_DEFAULT, list, H5P_DEFAULT));
      H5Call(store, H5Gclose(group));
    }
    *slash = '/';
  }
  PetscCall(PetscFree(prefix));
  H5Call(store, H5Pclose(list));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MakeType(FwStore store, const FwStoreArray *array, hid_t *type)
{
  PetscFunctionBegin;
  if (array->type == FW_STORE_REAL) {
    H5Call(store, *type = H5Tcopy(H5T_IEEE_F64LE));
  } else if (array->type == FW_STORE_INTEGER) {
    H5Call(store, *type = H5Tcopy(H5T_STD_I64LE));
  } else { /* of variable length: netCDF before 4.9.1, which xarray reads with, crashes over arrays of fixed length */
    H5Call(store, *type = H5Tcopy(H5T_C_S1));
    H5Call(store, H5Tset_size(*type, H5T_VARIABLE));
    H5Call(store, H5Tset_cset(*type, H5T_CSET_UTF8));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Filters work on chunks, which scalars and empty arrays do not have, and on numbers */
static PetscErrorCode MakeLayout(FwStore store, const FwStoreArray *array, hid_t *list)
{
  hsize_t chunk[FW_STORE_MAX_DIM];
  size_t  n_byte = (size_t)array->n * array->entry;

  PetscFunctionBegin;
  H5Call(store, *list = H5Pcreate(H5P_DATASET_CREATE));
  H5Call(store, H5Pset_obj_track_times(*list, 0));
  if (!array->n_dim || !array->n || array->type == FW_STORE_TEXT) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt d = 0; d < array->n_dim; d++) chunk[d] = (hsize_t)array->size[d];
  for (PetscInt d = 0; d < array->n_dim; d++) {
    const size_t per_row = n_byte / chunk[d];

    if (n_byte <= largest_chunk) break;
    chunk[d] = (hsize_t)PetscMax(1, largest_chunk / PetscMax(1, per_row));
    n_byte   = per_row * chunk[d];
  }
  H5Call(store, H5Pset_chunk(*list, (int)array->n_dim, chunk));
  H5Call(store, H5Pset_fletcher32(*list));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteTexts(FwStore store, hid_t set, hid_t type, const FwStoreArray *array)
{
  const char **text;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)array->n, &text));
  for (PetscInt64 i = 0; i < array->n; i++) text[i] = (const char *)array->data + (size_t)i * array->entry;
  H5Call(store, H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, text));
  PetscCall(PetscFree(text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PutValues(FwStore store, const char path[], const FwStoreArray *array)
{
  hid_t   type, space, list, set;
  hsize_t size[FW_STORE_MAX_DIM];

  PetscFunctionBegin;
  for (PetscInt d = 0; d < array->n_dim; d++) size[d] = (hsize_t)array->size[d];
  PetscCall(MakeType(store, array, &type));
  PetscCall(MakeLayout(store, array, &list));
  if (array->n_dim)
    H5Call(store, space = H5Screate_simple((int)array->n_dim, size, NULL));
  else
    H5Call(store, space = H5Screate(H5S_SCALAR));
  H5Call(store, set = H5Dcreate2(store->file, path, type, space, H5P_DEFAULT, list, H5P_DEFAULT));
  if (array->n && array->type == FW_STORE_TEXT)
    PetscCall(WriteTexts(store, set, type, array));
  else if (array->n)
    H5Call(store, H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, array->data));
  H5Call(store, H5Dclose(set));
  H5Call(store, H5Sclose(space));
  H5Call(store, H5Pclose(list));
  H5Call(store, H5Tclose(type));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PutArray(FwStore store, const char path[], const FwStoreArray *array, const char units[],
                               const char long_name[])
{
  char digest[FW_STORE_DIGEST];

  PetscFunctionBegin;
  FwStoreDigest(array, digest);
  PetscCall(PutValues(store, path, array));
  PetscCall(FwStorePutText(store, path, "units", units));
  PetscCall(FwStorePutText(store, path, "long_name", long_name));
  PetscCall(FwStorePutText(store, path, "xxh64", digest));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- dimension scales --------------------------------------------------------------------------------------- */

/* A scale that nobody gave values counts its entries */
static PetscErrorCode PutIndexScale(FwStore store, const char path[], const char name[], PetscInt64 n)
{
  FwStoreArray array = {.type = FW_STORE_INTEGER, .n_dim = 1, .size = {n}, .n = n, .entry = sizeof(PetscInt64)};
  PetscInt64  *index;
  char         long_name[128];
  hid_t        set;

  PetscFunctionBegin;
  PetscCall(PetscMalloc1((size_t)n, &index));
  for (PetscInt64 i = 0; i < n; i++) index[i] = i;
  array.data = index;
  PetscCall(PetscSNPrintf(long_name, sizeof long_name, "%s index", name));
  PetscCall(PutArray(store, path, &array, "1", long_name));
  PetscCall(PetscFree(index));
  H5Call(store, set = H5Dopen2(store->file, path, H5P_DEFAULT));
  H5Call(store, H5DSset_scale(set, name));
  H5Call(store, H5Dclose(set));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckScale(FwStore store, hid_t scale, const char path[], PetscInt64 n)
{
  hid_t    space;
  hssize_t n_entry;
  htri_t   is_scale;

  PetscFunctionBegin;
  H5Call(store, is_scale = H5DSis_scale(scale));
  PetscCheck(is_scale, PETSC_COMM_SELF, PETSC_ERR_PLIB, "'%s' is not a dimension scale", path);
  H5Call(store, space = H5Dget_space(scale));
  H5Call(store, n_entry = H5Sget_simple_extent_npoints(space));
  H5Call(store, H5Sclose(space));
  PetscCheck(n_entry == n, PETSC_COMM_SELF, PETSC_ERR_PLIB, "scale '%s' has %lld entries, an array wants %lld", path,
             (long long)n_entry, (long long)n);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AttachScale(FwStore store, hid_t set, PetscInt d, const char path[], const char name[],
                                  PetscInt64 n)
{
  hid_t     scale;
  PetscBool exists;

  PetscFunctionBegin;
  PetscCall(FwStoreExists(store, path, &exists));
  if (!exists) PetscCall(PutIndexScale(store, path, name, n));
  H5Call(store, scale = H5Dopen2(store->file, path, H5P_DEFAULT));
  PetscCall(CheckScale(store, scale, path, n));
  H5Call(store, H5DSattach_scale(set, scale, (unsigned)d));
  H5Call(store, H5Dclose(scale));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PutScales(FwStore store, const char path[], const FwShape *shape)
{
  const char *name = strrchr(path, '/') + 1;
  char        scale_path[1024];
  hid_t       set;

  PetscFunctionBegin;
  H5Call(store, set = H5Dopen2(store->file, path, H5P_DEFAULT));
  if (shape->n_dim == 1 && !strcmp(name, shape->name[0]))
    H5Call(store, H5DSset_scale(set, name));
  else
    for (PetscInt d = 0; d < shape->n_dim; d++) {
      PetscCall(PetscSNPrintf(scale_path, sizeof scale_path, "%.*s%s", (int)(name - path), path, shape->name[d]));
      PetscCall(AttachScale(store, set, d, scale_path, shape->name[d], shape->size[d]));
    }
  H5Call(store, H5Dclose(set));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the three public types --------------------------------------------------------------------------------- */

/* The size in bytes fits 63 bits, or there is an error */
static PetscErrorCode DescribeArray(const FwShape *shape, FwStoreType type, size_t entry, FwStoreArray *array)
{
  PetscInt64 n_byte = (PetscInt64)entry;

  PetscFunctionBegin;
  *array = (FwStoreArray){.type = type, .n_dim = shape->n_dim, .n = 1, .entry = entry};
  PetscCheck(shape->n_dim >= 0 && shape->n_dim <= FW_STORE_MAX_DIM, PETSC_COMM_SELF, PETSC_ERR_PLIB, "%d axes",
             (int)shape->n_dim);
  for (PetscInt d = 0; d < shape->n_dim; d++) {
    const PetscInt64 size = shape->size[d];

    PetscCheck(size >= 0 && (!size || n_byte <= INT64_MAX / size), PETSC_COMM_SELF, PETSC_ERR_PLIB,
               "axis '%s' has impossible length %lld", shape->name[d], (long long)size);
    array->size[d] = size;
    array->n *= size;
    n_byte = size ? n_byte * size : n_byte;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PutOnRoot(FwStore store, const char path[], const FwShape *shape, const FwStoreArray *array,
                                const char units[], const char long_name[])
{
  PetscFunctionBegin;
  PetscCheck(store->is_writing && path[0] == '/' && path[1], PETSC_COMM_SELF, PETSC_ERR_PLIB,
             "cannot put array '%s' into '%s'", path, store->path);
  PetscCall(MakeGroups(store, path));
  PetscCall(PutArray(store, path, array, units, long_name));
  PetscCall(PutScales(store, path, shape));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PutNumbers(FwStore store, const char path[], const FwShape *shape, FwStoreType type,
                                 const void *data, const char units[], const char long_name[])
{
  FwStoreArray array;

  PetscFunctionBegin;
  PetscCall(DescribeArray(shape, type, 8, &array));
  array.data = (void *)data; /* only read */
  PetscCall(PutOnRoot(store, path, shape, &array, units, long_name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PutTexts(FwStore store, const char path[], const FwShape *shape, const char *const data[],
                               const char units[], const char long_name[])
{
  FwStoreArray array;
  size_t       longest = 0;

  PetscFunctionBegin;
  PetscCall(DescribeArray(shape, FW_STORE_TEXT, 1, &array));
  for (PetscInt64 i = 0; i < array.n; i++) longest = PetscMax(longest, strlen(data[i]));
  PetscCall(DescribeArray(shape, FW_STORE_TEXT, longest + 1, &array));
  PetscCall(PetscCalloc((size_t)array.n * array.entry, &array.data));
  for (PetscInt64 i = 0; i < array.n; i++)
    memcpy((char *)array.data + (size_t)i * array.entry, data[i], strlen(data[i]));
  PetscCall(PutOnRoot(store, path, shape, &array, units, long_name));
  PetscCall(PetscFree(array.data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStoreReals(FwStore store, const char path[], const FwShape *shape, const double data[],
                            const char units[], const char long_name[])
{
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  if (store->rank == 0) code = PutNumbers(store, path, shape, FW_STORE_REAL, data, units, long_name);
  PetscCall(FwErrorAgree(store->comm, 0, code));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStoreIntegers(FwStore store, const char path[], const FwShape *shape, const PetscInt64 data[],
                               const char units[], const char long_name[])
{
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  if (store->rank == 0) code = PutNumbers(store, path, shape, FW_STORE_INTEGER, data, units, long_name);
  PetscCall(FwErrorAgree(store->comm, 0, code));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStoreTexts(FwStore store, const char path[], const FwShape *shape, const char *const data[],
                            const char units[], const char long_name[])
{
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBegin;
  if (store->rank == 0) code = PutTexts(store, path, shape, data, units, long_name);
  PetscCall(FwErrorAgree(store->comm, 0, code));
  PetscFunctionReturn(PETSC_SUCCESS);
}
