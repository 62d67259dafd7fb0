/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Targets from labels. Every rank does the same on its copy of the labels.
 */

#include "dataset_impl.h"

static PetscInt CountOutputs(FwDataset data)
{
  switch (data->encoding) {
    case FW_ENCODE_ONEHOT:
      return data->n_class;
    case FW_ENCODE_VALUE:
      return data->source.info.n_label;
    default:
      return 1;
  }
}

static PetscErrorCode CheckOutputs(FwDataset data)
{
  const PetscInt asked = data->keys.n_output, n_output = data->sizes.n_output;

  PetscFunctionBegin;
  PetscCheck(!asked || asked == n_output, data->comm, FW_ERR_INPUT,
             "key 'network_outputs' is %" PetscInt_FMT
             ", but the targets of data_source '%s' with data_encoding '%s' "
             "have %" PetscInt_FMT,
             asked, data->source.ops->name, FwEncodingNames[data->encoding], n_output);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Allocate(FwDataset data)
{
  const PetscInt64 n = FwLabelled(&data->keys);
  PetscInt64       n_target;

  PetscFunctionBegin;
  PetscCall(FwCountProduct(n, data->sizes.n_output, "targets", &n_target));
  PetscCall(PetscCalloc1(n_target, &data->y));
  if (data->encoding != FW_ENCODE_VALUE) PetscCall(PetscMalloc1(n, &data->class_index));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Selection has kept only labels that are in the list */
static PetscInt IndexOf(FwDataset data, double label)
{
  PetscInt c = 0;

  while (c < data->n_class - 1 && (double)data->classes[c] != label) c++;
  return c;
}

PetscErrorCode FwDatasetCountOutputs(FwDataset data)
{
  PetscFunctionBegin;
  data->sizes.n_output = CountOutputs(data);
  data->sizes.n_class  = data->encoding == FW_ENCODE_VALUE ? 0 : data->n_class;
  PetscCall(CheckOutputs(data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwDatasetEncode(FwDataset data)
{
  const PetscInt64 n = FwLabelled(&data->keys);

  PetscFunctionBegin;
  PetscCall(FwDatasetCountOutputs(data));
  PetscCall(FwErrorAgreeAny(data->comm, Allocate(data)));
  if (data->encoding == FW_ENCODE_VALUE) {
    PetscCall(PetscArraycpy(data->y, data->label, n * data->sizes.n_output));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (PetscInt64 i = 0; i < n; i++) {
    const PetscInt c = IndexOf(data, data->label[i]);

    data->class_index[i] = c;
    if (data->encoding == FW_ENCODE_SIGN)
      data->y[i] = c ? 1.0 : -1.0;
    else
      data->y[i * data->n_class + c] = 1.0;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
