/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/** @file
 * Rows of a reference file in tests/reference (JSON, which libyaml reads as YAML). Every rank reads the file.
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

typedef struct {
  yaml_document_t *document;
  yaml_node_t     *node; /**< NULL where there is none */
} Reference;

static inline Reference reference_open(const char *name)
{
  yaml_document_t *document = malloc(sizeof *document);
  yaml_parser_t    parser;
  char             path[1024];
  FILE            *file;

  (void)snprintf(path, sizeof path, "%s/tests/reference/%s", SOURCE_FOLDER, name);
  file = fopen(path, "rb");
  if (!file || !document || !yaml_parser_initialize(&parser)) abort();
  yaml_parser_set_input_file(&parser, file);
  if (!yaml_parser_load(&parser, document)) abort();
  yaml_parser_delete(&parser);
  (void)fclose(file);
  return (Reference){document, yaml_document_get_root_node(document)};
}

static inline void reference_close(Reference *reference)
{
  yaml_document_delete(reference->document);
  free(reference->document);
  reference->document = NULL;
}

/** The value of a key of a mapping. */
static inline Reference reference_get(Reference from, const char *key)
{
  if (from.node && from.node->type == YAML_MAPPING_NODE)
    for (yaml_node_pair_t *p = from.node->data.mapping.pairs.start; p < from.node->data.mapping.pairs.top; p++) {
      const yaml_node_t *name = yaml_document_get_node(from.document, p->key);

      if (!strcmp((const char *)name->data.scalar.value, key))
        return (Reference){from.document, yaml_document_get_node(from.document, p->value)};
    }
  return (Reference){from.document, NULL};
}

/** Number of entries of a list; 0 for anything else. */
static inline int reference_size(Reference list)
{
  if (!list.node || list.node->type != YAML_SEQUENCE_NODE) return 0;
  return (int)(list.node->data.sequence.items.top - list.node->data.sequence.items.start);
}

static inline Reference reference_at(Reference list, int i)
{
  return (Reference){list.document, yaml_document_get_node(list.document, list.node->data.sequence.items.start[i])};
}

/** A number, also written as "infinity"; NaN where there is none. */
static inline double reference_number(Reference from)
{
  if (!from.node || from.node->type != YAML_SCALAR_NODE) return NAN;
  return strtod((const char *)from.node->data.scalar.value, NULL);
}

static inline double reference_value(Reference from, const char *key)
{
  return reference_number(reference_get(from, key));
}
