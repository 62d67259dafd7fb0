/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Reading a result: nothing is believed before its checksum, and nothing is followed out of the file.
 */

#include "store_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <hdf5_hl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

/* --- the trailer -------------------------------------------------------------------------------------------- */

static const char trailer_magic[16] = "finwidth-end-01"; /* with its NUL */

void FwStoreTrailer(const void *image, size_t n_byte, unsigned char trailer[FW_STORE_TRAILER])
{
  const XXH64_hash_t hash = XXH3_64bits(image, n_byte);

  memcpy(trailer, trailer_magic, 16);
  for (int i = 0; i < 8; i++) {
    trailer[16 + i] = (unsigned char)((uint64_t)n_byte >> (8 * i));
    trailer[24 + i] = (unsigned char)(hash >> (8 * i));
  }
}

/* What need not be read to the end: other files, and those that another program has changed, which have no trailer */
static PetscErrorCode CheckEnds(int descriptor, const char path[], size_t n_byte)
{
  static const unsigned char signature[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
  unsigned char              start[8]     = {0}, end[16];

  PetscFunctionBegin;
  if (n_byte >= 8) PetscCall(FwDiskRead(descriptor, path, 0, 8, start));
  PetscCheck(!memcmp(start, signature, 8), PETSC_COMM_SELF, FW_ERR_FILE,
             "'%s' is not a result of finwidth: it is not an HDF5 file", path);
  PetscCheck(n_byte > FW_STORE_TRAILER, PETSC_COMM_SELF, FW_ERR_FILE, "'%s' is cut off after %zu bytes", path, n_byte);
  PetscCall(FwDiskRead(descriptor, path, n_byte - FW_STORE_TRAILER, sizeof end, end));
  PetscCheck(!memcmp(end, trailer_magic, 16), PETSC_COMM_SELF, FW_ERR_FILE,
             "'%s' is not a result of finwidth, or is damaged, cut off, or was changed after finwidth wrote it: its "
             "trailer is missing",
             path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool FwStoreIsResult(const char path[])
{
  const int     descriptor              = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  unsigned char found[FW_STORE_TRAILER] = {0};
  struct stat   status;
  PetscBool     is_result = PETSC_FALSE;

  if (descriptor < 0) return PETSC_FALSE;
  if (!fstat(descriptor, &status) && S_ISREG(status.st_mode) && status.st_size > FW_STORE_TRAILER &&
      pread(descriptor, found, sizeof found, status.st_size - FW_STORE_TRAILER) == FW_STORE_TRAILER)
    is_result = memcmp(found, trailer_magic, sizeof trailer_magic) ? PETSC_FALSE : PETSC_TRUE;
  close(descriptor);
  return is_result;
}

/* --- opening ------------------------------------------------------------------------------------------------ */

/* All of it, and nothing but what was written */
static PetscErrorCode ReadBytes(int descriptor, const char path[], FwMemoryFile *memory)
{
  unsigned char trailer[FW_STORE_TRAILER];
  struct stat   status;
  size_t        n_byte;

  PetscFunctionBegin;
  PetscCheck(!fstat(descriptor, &status), PETSC_COMM_SELF, FW_ERR_FILE, "cannot read '%s': %s", path, strerror(errno));
  PetscCheck(S_ISREG(status.st_mode), PETSC_COMM_SELF, FW_ERR_FILE, "'%s' is not a file", path);
  n_byte = (size_t)status.st_size;
  PetscCall(CheckEnds(descriptor, path, n_byte));
  memory->byte = malloc(n_byte);
  PetscCheck(memory->byte, PETSC_COMM_SELF, PETSC_ERR_MEM, "no memory for the %zu bytes of '%s'", n_byte, path);
  memory->n = n_byte;
  PetscCall(FwDiskRead(descriptor, path, 0, n_byte, memory->byte));
  FwStoreTrailer(memory->byte, n_byte - FW_STORE_TRAILER, trailer);
  PetscCheck(!memcmp(trailer, memory->byte + n_byte - FW_STORE_TRAILER, sizeof trailer), PETSC_COMM_SELF, FW_ERR_FILE,
             "'%s' is damaged: its bytes do not match their checksum", path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStoreCloseFile(FwStore store)
{
  const hid_t file = store->file;

  PetscFunctionBegin;
  store->file = H5I_INVALID_HID;
  if (file >= 0)
    PetscCheck(H5Fclose(file) >= 0, PETSC_COMM_SELF, FW_ERR_FILE, "cannot close '%s': %s", store->path,
               FwStoreReason());
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadInteger(FwStore store, const char name[], PetscInt64 *value)
{
  hid_t attribute;

  PetscFunctionBegin;
  H5Call(store, attribute = H5Aopen(store->file, name, H5P_DEFAULT));
  H5Call(store, H5Aread(attribute, H5T_NATIVE_INT64, value));
  H5Call(store, H5Aclose(attribute));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckSchema(FwStore store)
{
  char      *schema;
  PetscInt64 version;
  PetscBool  is_ours;
  htri_t     exists;

  PetscFunctionBegin;
  H5Call(store, exists = H5Aexists(store->file, "schema"));
  PetscCheck(exists, PETSC_COMM_SELF, FW_ERR_FILE, "'%s' is HDF5, but not a result of finwidth: it has no schema",
             store->path);
  PetscCall(FwStoreReadText(store, "/", "schema", &schema));
  PetscCall(PetscStrcmp(schema, "finwidth", &is_ours));
  PetscCheck(is_ours, PETSC_COMM_SELF, FW_ERR_FILE, "'%s' is not a result of finwidth: its schema is '%s'", store->path,
             schema);
  PetscCall(PetscFree(schema));
  PetscCall(ReadInteger(store, "schema_version", &version));
  PetscCheck(version >= 1 && version <= FW_STORE_SCHEMA, PETSC_COMM_SELF, FW_ERR_FILE,
             "'%s' has schema version %lld, this program reads 1 to %d", store->path, (long long)version,
             FW_STORE_SCHEMA);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode OpenMemory(FwStore store)
{
  PetscFunctionBegin;
  PetscCall(FwStoreQuietHdf5());
  H5Call(store, store->file = FwMemoryFileOpen(&store->memory));
  PetscCall(CheckSchema(store));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStoreOpenFile(FwStore store)
{
  const int      descriptor = open(store->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCheck(descriptor >= 0, PETSC_COMM_SELF, FW_ERR_FILE, "cannot open '%s': %s", store->path, strerror(errno));
  code = ReadBytes(descriptor, store->path, &store->memory);
  close(descriptor);
  PetscCall(code);
  PetscCall(OpenMemory(store));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- arrays ------------------------------------------------------------------------------------------------- */

/* Only what finwidth writes: HDF5 can also take values from other files, or through a plugin */
static PetscErrorCode CheckLayout(FwStore store, hid_t set, const char path[])
{
  hid_t    list;
  unsigned flags;
  size_t   n_value = 0;
  int      n_filter, n_external, is_plain;

  PetscFunctionBegin;
  H5Call(store, list = H5Dget_create_plist(set));
  is_plain = H5Pget_layout(list) == H5D_CONTIGUOUS || H5Pget_layout(list) == H5D_CHUNKED;
  H5Call(store, n_external = H5Pget_external_count(list));
  H5Call(store, n_filter = H5Pget_nfilters(list));
  for (int i = 0; i < n_filter; i++)
    is_plain =
      is_plain && H5Pget_filter2(list, (unsigned)i, &flags, &n_value, NULL, 0, NULL, NULL) == H5Z_FILTER_FLETCHER32;
  H5Call(store, H5Pclose(list));
  PetscCheck(is_plain && !n_external, PETSC_COMM_SELF, FW_ERR_FILE,
             "'%s': array '%s' is stored in a way that finwidth does not write", store->path, path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DescribeType(FwStore store, hid_t type, const char path[], FwStoreArray *array)
{
  const H5T_class_t class = H5Tget_class(type);

  PetscFunctionBegin;
  array->entry = H5Tget_size(type);
  array->type  = class == H5T_FLOAT ? FW_STORE_REAL : class == H5T_INTEGER ? FW_STORE_INTEGER : FW_STORE_TEXT;
  PetscCheck(
    (class == H5T_STRING && array->entry > 0) || ((class == H5T_FLOAT || class == H5T_INTEGER) && array->entry == 8),
    PETSC_COMM_SELF, FW_ERR_FILE, "'%s': array '%s' is neither doubles, 64-bit integers nor text", store->path, path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A small file can declare a huge array; ours are not compressed, so none is larger than its file */
static PetscErrorCode DescribeSpace(FwStore store, hid_t set, const char path[], FwStoreArray *array)
{
  hsize_t size[FW_STORE_MAX_DIM] = {0};
  hid_t   space;
  int     n_dim;

  PetscFunctionBegin;
  H5Call(store, space = H5Dget_space(set));
  H5Call(store, n_dim = H5Sget_simple_extent_ndims(space));
  PetscCheck(n_dim <= FW_STORE_MAX_DIM && H5Sget_simple_extent_type(space) != H5S_NULL, PETSC_COMM_SELF, FW_ERR_FILE,
             "'%s': array '%s' has an impossible shape", store->path, path);
  H5Call(store, H5Sget_simple_extent_dims(space, size, NULL));
  H5Call(store, H5Sclose(space));
  array->n_dim = n_dim;
  array->n     = 1;
  for (int d = 0; d < n_dim; d++) {
    PetscCheck(store->is_writing || size[d] <= (hsize_t)store->memory.n / array->entry, PETSC_COMM_SELF, FW_ERR_FILE,
               "'%s': array '%s' claims to be larger than its file", store->path, path);
    array->size[d] = (PetscInt64)size[d];
    PetscCheck(!size[d] || array->n <= INT64_MAX / (PetscInt64)array->entry / array->size[d], PETSC_COMM_SELF,
               FW_ERR_FILE, "'%s': array '%s' has an impossible shape", store->path, path);
    array->n *= array->size[d];
  }
  PetscCheck(store->is_writing || array->n * (PetscInt64)array->entry <= (PetscInt64)store->memory.n, PETSC_COMM_SELF,
             FW_ERR_FILE, "'%s': array '%s' claims to be larger than its file", store->path, path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Entries as long as the longest text, and a NUL each; texts could share their bytes in a file that is not ours */
static PetscErrorCode PackTexts(FwStore store, const char path[], char *const text[], FwStoreArray *array)
{
  size_t longest = 0, n_byte = 0;

  PetscFunctionBegin;
  for (PetscInt64 i = 0; i < array->n; i++) {
    const size_t length = text[i] ? strlen(text[i]) : 0;

    longest = PetscMax(longest, length);
    n_byte += length;
  }
  PetscCheck(store->is_writing || n_byte <= store->memory.n, PETSC_COMM_SELF, FW_ERR_FILE,
             "'%s': array '%s' claims to be larger than its file", store->path, path);
  array->entry = longest + 1;
  PetscCall(PetscCalloc((size_t)PetscMax(1, array->n) * array->entry, &array->data));
  for (PetscInt64 i = 0; i < array->n; i++)
    if (text[i]) memcpy((char *)array->data + (size_t)i * array->entry, text[i], strlen(text[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadTexts(FwStore store, hid_t set, hid_t type, const char path[], FwStoreArray *array)
{
  char         **text;
  hid_t          space;
  PetscErrorCode code;

  PetscFunctionBegin;
  PetscCall(PetscCalloc1((size_t)PetscMax(1, array->n), &text));
  PetscCheck(!array->n || H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, text) >= 0, PETSC_COMM_SELF, FW_ERR_FILE,
             "'%s': array '%s' cannot be read: %s", store->path, path, FwStoreReason());
  code = PackTexts(store, path, text, array);
  H5Call(store, space = H5Dget_space(set));
  H5Call(store, H5Dvlen_reclaim(type, space, H5P_DEFAULT, text));
  H5Call(store, H5Sclose(space));
  PetscCall(PetscFree(text));
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Numbers, or texts of fixed length, which finwidth once wrote */
static PetscErrorCode ReadEntries(FwStore store, hid_t set, hid_t type, const char path[], FwStoreArray *array)
{
  hid_t memory_type = array->type == FW_STORE_REAL ? H5T_NATIVE_DOUBLE : H5T_NATIVE_INT64;

  PetscFunctionBegin;
  if (array->type == FW_STORE_TEXT) memory_type = type;
  PetscCall(PetscMalloc((size_t)PetscMax(1, array->n) * array->entry, &array->data));
  PetscCheck(!array->n || H5Dread(set, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, array->data) >= 0, PETSC_COMM_SELF,
             FW_ERR_FILE, "'%s': array '%s' cannot be read: %s", store->path, path, FwStoreReason());
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadValues(FwStore store, hid_t set, const char path[], FwStoreArray *array)
{
  hid_t type;

  PetscFunctionBegin;
  H5Call(store, type = H5Dget_type(set));
  PetscCall(DescribeType(store, type, path, array));
  PetscCall(DescribeSpace(store, set, path, array));
  if (array->type == FW_STORE_TEXT && H5Tis_variable_str(type) > 0)
    PetscCall(ReadTexts(store, set, type, path, array));
  else
    PetscCall(ReadEntries(store, set, type, path, array));
  H5Call(store, H5Tclose(type));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadText(FwStore store, hid_t object, const char path[], const char name[], char **text)
{
  hid_t  attribute, type;
  char  *value = NULL;
  htri_t exists, is_text;

  PetscFunctionBegin;
  H5Call(store, exists = H5Aexists(object, name));
  PetscCheck(exists, PETSC_COMM_SELF, FW_ERR_FILE, "'%s': '%s' has no attribute '%s'", store->path, path, name);
  H5Call(store, attribute = H5Aopen(object, name, H5P_DEFAULT));
  H5Call(store, type = H5Aget_type(attribute));
  H5Call(store, is_text = H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) > 0);
  PetscCheck(is_text && H5Aget_storage_size(attribute) == sizeof(char *) + 8, PETSC_COMM_SELF, FW_ERR_FILE,
             "'%s': attribute '%s' of '%s' is not one text", store->path, name, path);
  H5Call(store, H5Aread(attribute, type, &value));
  PetscCall(PetscStrallocpy(value ? value : "", text));
  H5free_memory(value);
  H5Call(store, H5Tclose(type));
  H5Call(store, H5Aclose(attribute));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckDigest(FwStore store, hid_t set, const char path[], const FwStoreArray *array)
{
  char      expected[FW_STORE_DIGEST], *found;
  PetscBool is_same;

  PetscFunctionBegin;
  FwStoreDigest(array, expected);
  PetscCall(ReadText(store, set, path, "xxh64", &found));
  PetscCall(PetscStrcmp(expected, found, &is_same));
  PetscCall(PetscFree(found));
  PetscCheck(is_same, PETSC_COMM_SELF, FW_ERR_FILE,
             "'%s': array '%s' is damaged: its values do not match their checksum", store->path, path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode OpenSet(FwStore store, const char path[], hid_t *set)
{
  PetscBool exists;

  PetscFunctionBegin;
  *set = H5Dopen2(store->file, path, H5P_DEFAULT);
  if (*set >= 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwStoreExists(store, path, &exists)); /* takes as long as opening it */
  PetscCheck(exists, PETSC_COMM_SELF, FW_ERR_FILE, "'%s' has no array '%s'", store->path, path);
  H5Call(store, *set = H5Dopen2(store->file, path, H5P_DEFAULT));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStoreReadArray(FwStore store, const char path[], FwStoreArray *array)
{
  hid_t set;

  PetscFunctionBegin;
  *array = (FwStoreArray){.n = 0};
  PetscCall(OpenSet(store, path, &set));
  PetscCall(CheckLayout(store, set, path));
  PetscCall(ReadValues(store, set, path, array));
  PetscCall(CheckDigest(store, set, path, array));
  H5Call(store, H5Dclose(set));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStoreReadText(FwStore store, const char path[], const char name[], char **text)
{
  hid_t object;

  PetscFunctionBegin;
  H5Call(store, object = H5Oopen(store->file, path, H5P_DEFAULT));
  PetscCall(ReadText(store, object, path, name, text));
  H5Call(store, H5Oclose(object));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStoreReadType(FwStore store, const char path[], FwStoreType *type)
{
  FwStoreArray array;
  hid_t        set, stored;

  PetscFunctionBegin;
  PetscCall(OpenSet(store, path, &set));
  H5Call(store, stored = H5Dget_type(set));
  PetscCall(DescribeType(store, stored, path, &array));
  H5Call(store, H5Tclose(stored));
  H5Call(store, H5Dclose(set));
  *type = array.type;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- axes --------------------------------------------------------------------------------------------------- */

/* The first scale of an axis is its name; HDF5 goes through all of them */
static herr_t TakeName(hid_t set, unsigned d, hid_t scale, void *name)
{
  const ssize_t n = H5DSget_scale_name(scale, name, FW_STORE_NAME_SIZE);

  (void)set;
  (void)d;
  return n < 0 || n >= FW_STORE_NAME_SIZE ? -1 : 1;
}

PetscErrorCode FwStoreReadAxes(FwStore store, const char path[], PetscInt *n_dim,
                               char axis[FW_STORE_MAX_DIM][FW_STORE_NAME_SIZE])
{
  FwStoreArray array = {.entry = 1};
  hid_t        set;
  htri_t       is_scale;

  PetscFunctionBegin;
  PetscCall(OpenSet(store, path, &set));
  PetscCall(DescribeSpace(store, set, path, &array));
  H5Call(store, is_scale = H5DSis_scale(set));
  for (PetscInt d = 0; d < array.n_dim; d++) {
    herr_t found;

    axis[d][0] = '\0';
    found      = is_scale ? TakeName(set, (unsigned)d, set, axis[d])
                          : H5DSiterate_scales(set, (unsigned)d, NULL, TakeName, axis[d]);
    PetscCheck(found >= 0, PETSC_COMM_SELF, FW_ERR_FILE, "'%s': axis %" PetscInt_FMT " of '%s' has no readable name",
               store->path, d, path);
  }
  H5Call(store, H5Dclose(set));
  *n_dim = array.n_dim;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- the list of arrays -------------------------------------------------------------------------------------- */

typedef struct {
  FwStore        store;
  PetscInt       n;
  size_t         used, room;
  char          *names;
  PetscErrorCode code;
} Listing;

static PetscErrorCode ListObject(Listing *list, const char name[], H5L_type_t link)
{
  const size_t n = strlen(name) + 2;
  H5O_info_t   object;

  PetscFunctionBegin;
  PetscCheck(link == H5L_TYPE_HARD, PETSC_COMM_SELF, FW_ERR_FILE, "'%s': '/%s' leads out of the file",
             list->store->path, name);
  H5Call(list->store, H5Oget_info_by_name2(list->store->file, name, &object, H5O_INFO_BASIC, H5P_DEFAULT));
  if (object.type != H5O_TYPE_DATASET) PetscFunctionReturn(PETSC_SUCCESS);
  if (list->used + n > list->room) {
    list->room = 2 * list->room + n + 1024;
    PetscCall(PetscRealloc(list->room, &list->names));
  }
  list->names[list->used] = '/';
  memcpy(list->names + list->used + 1, name, n - 1);
  list->used += n;
  list->n++;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static herr_t ListLink(hid_t group, const char *name, const H5L_info_t *info, void *context)
{
  Listing *list = context;

  (void)group;
  list->code = ListObject(list, name, info->type);
  return list->code ? 1 : 0;
}

PetscErrorCode FwStoreListArrays(FwStore store, PetscInt *n, char **names)
{
  Listing list = {.store = store};

  PetscFunctionBegin;
  H5Call(store, H5Lvisit(store->file, H5_INDEX_CRT_ORDER, H5_ITER_INC, ListLink, &list));
  PetscCall(list.code);
  *n     = list.n;
  *names = list.names;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- verifying ---------------------------------------------------------------------------------------------- */

typedef struct {
  FwStore        store;
  PetscInt       n_array;
  PetscErrorCode code;
} Walk;

static PetscErrorCode VisitObject(Walk *walk, const char name[], H5L_type_t link)
{
  FwStore      store = walk->store;
  FwStoreArray array;
  H5O_info_t   object;
  char         path[1024];

  PetscFunctionBegin;
  PetscCheck(link == H5L_TYPE_HARD, PETSC_COMM_SELF, FW_ERR_FILE, "'%s': '/%s' leads out of the file", store->path,
             name);
  PetscCall(PetscSNPrintf(path, sizeof path, "/%s", name));
  H5Call(store, H5Oget_info_by_name2(store->file, path, &object, H5O_INFO_BASIC, H5P_DEFAULT));
  if (object.type != H5O_TYPE_DATASET) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwStoreReadArray(store, path, &array));
  PetscCall(PetscFree(array.data));
  walk->n_array++;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static herr_t VisitLink(hid_t group, const char *name, const H5L_info_t *info, void *context)
{
  Walk *walk = context;

  (void)group;
  walk->code = VisitObject(walk, name, info->type);
  return walk->code ? 1 : 0;
}

static PetscErrorCode VerifyOpen(FwStore store, char report[], size_t size)
{
  Walk   walk = {.store = store};
  char  *status;
  htri_t has_status;

  PetscFunctionBegin;
  H5Call(store, H5Lvisit(store->file, H5_INDEX_NAME, H5_ITER_INC, VisitLink, &walk));
  PetscCall(walk.code);
  H5Call(store, has_status = H5Aexists(store->file, "status"));
  if (has_status)
    PetscCall(FwStoreReadText(store, "/", "status", &status));
  else
    PetscCall(PetscStrallocpy("no status", &status));
  snprintf(report, size, "%s, %d arrays, schema %d", status, (int)walk.n_array, FW_STORE_SCHEMA);
  PetscCall(PetscFree(status));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode VerifyAndClose(FwStore store, char report[], size_t size)
{
  PetscErrorCode code = VerifyOpen(store, report, size);

  PetscFunctionBegin;
  if (code) {
    (void)H5Fclose(store->file);
    PetscFunctionReturn(code);
  }
  PetscCall(FwStoreCloseFile(store));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStoreVerifyMemory(const char path[], const FwMemoryFile *memory)
{
  struct FwStoreImpl store = {.path = (char *)path, .file = H5I_INVALID_HID, .slot = -1, .memory = *memory};
  char               report[256];

  PetscFunctionBegin;
  PetscCall(OpenMemory(&store));
  PetscCall(VerifyAndClose(&store, report, sizeof report));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwStoreVerifyFile(const char path[], char report[], size_t size)
{
  struct FwStoreImpl store = {.path = (char *)path, .file = H5I_INVALID_HID, .slot = -1};
  PetscErrorCode     code  = FwStoreOpenFile(&store);

  PetscFunctionBegin;
  if (!code)
    code = VerifyAndClose(&store, report, size);
  else if (store.file >= 0)
    (void)H5Fclose(store.file);
  free(store.memory.byte);
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}
