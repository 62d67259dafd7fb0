/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The data_* and teacher_* keys, and those of them that contradict each other.
 */

#include "dataset_impl.h"

#include <finwidth/model.h>
#include <finwidth/option.h>

const char *const FwEncodingNames[]  = {"sign", "onehot", "value", "default"};
const char *const FwNormaliseNames[] = {"none", "unit", "standard", "columns"};
const char *const FwScrambleNames[]  = {"none", "pixels", "patches", "labels"};

static PetscErrorCode ReadSource(FwDataKeys *keys)
{
  PetscInt choice;

  PetscFunctionBegin;
  PetscCall(FwOptionChoice("data_source", &keys->source, NULL));
  PetscCall(FwOptionChoice("data_split", &choice, NULL));
  keys->split = (FwSplit)choice;
  PetscCall(FwOptionText("data_path", sizeof keys->path, keys->path, NULL));
  PetscCall(FwOptionText("data_images", sizeof keys->images, keys->images, NULL));
  PetscCall(FwOptionText("data_labels", sizeof keys->labels, keys->labels, NULL));
  PetscCall(FwOptionText("data_inputs", sizeof keys->inputs, keys->inputs, NULL));
  PetscCall(FwOptionText("data_targets", sizeof keys->targets, keys->targets, NULL));
  PetscCall(FwOptionText("data_predict", sizeof keys->new_inputs, keys->new_inputs, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadInteger(const char key[], PetscInt *value)
{
  PetscInt64 number = *value;

  PetscFunctionBegin;
  PetscCall(FwOptionInteger(key, &number, NULL));
  *value = (PetscInt)number; /* the key table allows no more than 2^31 - 1 */
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadClasses(FwDataKeys *keys)
{
  PetscInt64 number[FW_MAX_CLASS];
  PetscInt   n = FW_MAX_CLASS;

  PetscFunctionBegin;
  PetscCall(FwOptionIntegers("data_classes", &n, number));
  for (PetscInt c = 0; c < n; c++) {
    for (PetscInt before = 0; before < c; before++)
      PetscCheck(number[before] != number[c], PETSC_COMM_WORLD, FW_ERR_INPUT,
                 "key 'data_classes' names class %" PetscInt64_FMT " twice", number[c]);
    keys->classes[c] = (PetscInt)number[c];
  }
  keys->n_class = n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadSelection(FwDataKeys *keys)
{
  PetscInt64 number;

  PetscFunctionBegin;
  PetscCall(ReadClasses(keys));
  PetscCall(ReadInteger("data_train", &keys->n_train));
  PetscCall(ReadInteger("data_test", &keys->n_test));
  PetscCall(ReadInteger("data_validation", &keys->n_validation));
  PetscCall(FwOptionInteger("data_skip", &keys->skip, NULL));
  PetscCall(FwOptionBoolean("data_shuffle", &keys->shuffle, NULL));
  PetscCall(FwOptionInteger("seed", &number, NULL));
  keys->seed     = (uint64_t)number;
  keys->n_output = 0;
  PetscCall(ReadInteger("network_outputs", &keys->n_output));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadPreparation(FwDataKeys *keys)
{
  PetscInt  choice;
  PetscBool is_set;

  PetscFunctionBegin;
  PetscCall(FwOptionChoice("data_encoding", &choice, &is_set));
  keys->encoding = is_set ? (FwEncoding)choice : FW_ENCODE_DEFAULT;
  PetscCall(FwOptionChoice("data_normalise", &choice, NULL));
  keys->normalise = (FwNormalise)choice;
  PetscCall(FwOptionChoice("data_scramble", &choice, NULL));
  keys->scramble = (FwScramble)choice;
  if (keys->scramble == FW_SCRAMBLE_PATCHES) PetscCall(FwPatchSidesFromOptions(keys->mask, keys->stride));
  PetscCall(FwOptionBoolean("data_gray", &keys->is_gray, NULL));
  keys->size = 0;
  PetscCall(ReadInteger("data_size", &keys->size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadTeacher(FwDataKeys *keys)
{
  PetscInt choice;

  PetscFunctionBegin;
  PetscCall(FwOptionChoice("teacher_kind", &choice, NULL));
  keys->teacher_kind = (FwTeacherKind)choice;
  PetscCall(ReadInteger("teacher_inputs", &keys->teacher_inputs));
  PetscCall(ReadInteger("teacher_width", &keys->teacher_width));
  PetscCall(FwOptionReal("teacher_noise", &keys->teacher_noise, NULL));
  PetscCall(FwOptionReal("teacher_spectrum", &keys->teacher_spectrum, NULL));
  PetscCall(FwOptionReal("teacher_offset", &keys->teacher_offset, NULL));
  PetscCall(FwOptionReal("teacher_spread", &keys->teacher_spread, NULL));
  keys->n_singular = FW_MAX_SINGULAR;
  PetscCall(FwOptionReals("teacher_singular", &keys->n_singular, keys->singular));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A low-rank teacher's matrix is D x N_0 */
static PetscErrorCode CheckTeacher(const FwDataKeys *keys, const FwSourceOps *ops)
{
  const PetscInt n_output = keys->n_output ? keys->n_output : keys->n_singular;

  PetscFunctionBegin;
  if (ops != &FwSourceOps_Teacher || keys->teacher_kind != FW_TEACHER_LOW_RANK) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(keys->n_singular <= PetscMin(n_output, keys->teacher_inputs), PETSC_COMM_WORLD, FW_ERR_INPUT,
             "teacher_singular has %" PetscInt_FMT " values, but the teacher has %" PetscInt_FMT
             " outputs and %" PetscInt_FMT " inputs: want no more than the smaller",
             keys->n_singular, n_output, keys->teacher_inputs);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckFiles(const FwDataKeys *keys, const FwSourceOps *ops)
{
  const PetscBool is_idx = ops == &FwSourceOps_Mnist ? PETSC_TRUE : PETSC_FALSE;
  PetscBool       has_source;

  PetscFunctionBegin;
  PetscCall(FwOptionIsSet("data_source", &has_source));
  PetscCheck(!keys->images[0] == !keys->labels[0], PETSC_COMM_WORLD, FW_ERR_INPUT,
             "key '%s' is given without '%s': images and labels come as a pair",
             keys->images[0] ? "data_images" : "data_labels", keys->images[0] ? "data_labels" : "data_images");
  PetscCheck(is_idx || !keys->images[0], PETSC_COMM_WORLD, FW_ERR_INPUT,
             "keys 'data_images' and 'data_labels' are for data_source 'mnist', not '%s'", ops->name);
  PetscCheck(has_source || !keys->path[0], PETSC_COMM_WORLD, FW_ERR_INPUT,
             "data_path '%s' is given without data_source, which says what kind of file it is: want %s", keys->path,
             FwKeyFind("data_source")->choices);
  PetscCheck(keys->split == FW_SPLIT_SEQUENCE || !ops->is_drawn, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "data_split 'files' needs a test file of its own: data_source '%s' has none, use 'sequence'", ops->name);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckClasses(const FwDataKeys *keys, const FwSourceOps *ops)
{
  PetscFunctionBegin;
  if (ops->n_class)
    for (PetscInt c = 0; c < keys->n_class; c++)
      PetscCheck(keys->classes[c] < ops->n_class, PETSC_COMM_WORLD, FW_ERR_INPUT,
                 "key 'data_classes' names class %" PetscInt_FMT ", data_source '%s' has classes 0 to %" PetscInt_FMT,
                 keys->classes[c], ops->name, ops->n_class - 1);
  if (ops == &FwSourceOps_Teacher) {
    PetscCheck(!keys->n_class, PETSC_COMM_WORLD, FW_ERR_INPUT,
               "key 'data_classes' has no meaning for data_source 'teacher': its labels are numbers");
    PetscCheck(keys->encoding >= FW_ENCODE_VALUE, PETSC_COMM_WORLD, FW_ERR_INPUT,
               "data_encoding '%s' needs classes: the labels of data_source 'teacher' are numbers, use 'value'",
               FwEncodingNames[keys->encoding]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckSize(const FwDataKeys *keys, const FwSourceOps *ops)
{
  PetscFunctionBegin;
  PetscCheck(!keys->size || (ops != &FwSourceOps_Teacher && ops != &FwSourceOps_Csv), PETSC_COMM_WORLD, FW_ERR_INPUT,
             "key 'data_size' needs images: the inputs of data_source '%s' are plain numbers", ops->name);
  PetscCheck(!keys->size || keys->size >= 8 || ops != &FwSourceOps_Glyphs, PETSC_COMM_WORLD, FW_ERR_INPUT,
             "key 'data_size' is %" PetscInt_FMT ": glyphs need at least 8 pixels", keys->size);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwDataKeysRead(FwDataKeys *keys)
{
  const FwSourceOps *ops;

  PetscFunctionBegin;
  PetscCall(ReadSource(keys));
  PetscCall(FwSourceOpsGet(keys->source, &ops));
  PetscCall(ReadSelection(keys));
  PetscCall(ReadPreparation(keys));
  PetscCall(ReadTeacher(keys));
  PetscCall(CheckFiles(keys, ops));
  PetscCall(CheckClasses(keys, ops));
  PetscCall(CheckTeacher(keys, ops));
  PetscCall(CheckSize(keys, ops));
  PetscFunctionReturn(PETSC_SUCCESS);
}
