/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Checks of the input file that PETSc's YAML reader does not make, on the event stream of libyaml.
 */

#include <finwidth/base.h>
#include <finwidth/input.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <yaml.h>

enum { MAX_DEPTH = 8 };

/* One open mapping or list */
typedef struct {
  char *key;    /* whose value comes next, with those around it: "network_width" */
  char *anchor; /* name under which an alias would stand for it */
  int   is_list;
  int   want_key;
} Level;

typedef struct {
  const char *path;
  Level       level[MAX_DEPTH];
  int         depth;          /* open mappings and lists */
  char       *keys, *anchors; /* all that were seen, a line each */
  int         n_document;
  char       *message;
  size_t      size;
} Check;

/* Of the last file */
static struct {
  char path[4096], *keys;
} seen;

static int __attribute__((format(printf, 3, 4))) Fail(Check *check, size_t line, const char format[], ...)
{
  va_list arguments;
  int     n = snprintf(check->message, check->size, "%s:%zu: ", check->path, line + 1);

  va_start(arguments, format);
  vsnprintf(check->message + n, check->size - (size_t)n, format, arguments);
  va_end(arguments);
  return FW_EXIT_INPUT;
}

/* `network: {width: 5}` is the key network_width */
static int SetKey(Check *check, size_t line, const char name[])
{
  Level      *level  = &check->level[check->depth - 1];
  const char *around = check->depth > 1 ? level[-1].key : NULL;

  free(level->key);
  level->key = NULL;
  if (asprintf(&level->key, "%s%s%s", around ? around : "", around ? "_" : "", name) >= 0) return 0;
  level->key = NULL;
  return Fail(check, line, "out of memory");
}

/* Whether a list has a word already; it is added with its line where not */
static int FindOrAdd(char **list, const char word[], size_t at, int *is_found)
{
  enum { ROOM = 24 }; /* ":" and a line */
  const size_t old = *list ? strlen(*list) : 0;
  char        *line, *all;

  if (asprintf(&line, "\n%s\n", word) < 0) return -1;
  *is_found = *list && strstr(*list, line);
  all       = *is_found ? *list : realloc(*list, old + strlen(line) + ROOM);
  if (all && !*is_found) snprintf(all + old, strlen(line) + ROOM, "%s:%zu", line, at + 1);
  if (all) *list = all;
  free(line);
  return all ? 0 : -1;
}

static int AddKey(Check *check, size_t line)
{
  const char *name = check->level[check->depth - 1].key;
  int         is_found;

  if (FindOrAdd(&check->keys, name, line, &is_found)) return Fail(check, line, "out of memory");
  return is_found ? Fail(check, line, "key '%s' stands here a second time", name) : 0;
}

static int AddAnchor(Check *check, size_t line, const yaml_char_t *anchor)
{
  int is_found;

  if (anchor && FindOrAdd(&check->anchors, (const char *)anchor, line, &is_found))
    return Fail(check, line, "out of memory");
  return 0;
}

static int OnScalar(Check *check, const yaml_event_t *event)
{
  const char  *text  = (const char *)event->data.scalar.value;
  const size_t line  = event->start_mark.line;
  const int    plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
  Level       *level;
  int          code;

  if (!check->depth) return Fail(check, line, "want 'key: value' lines, found '%s'", text);
  if ((code = AddAnchor(check, line, event->data.scalar.anchor))) return code;
  level = &check->level[check->depth - 1];
  if (!level->is_list && level->want_key) {
    level->want_key = 0;
    if (!*text) return Fail(check, line, "a key is empty");
    if (!strncmp(text, "$$", 2)) return Fail(check, line, "'%s': what begins with '$$' would be passed over", text);
    if ((code = SetKey(check, line, text))) return code;
    return strcmp(text, "<<") ? AddKey(check, line) : 0;
  }
  level->want_key = 1;
  if (strchr(text, '\n')) return Fail(check, line, "a value of several lines is not possible");
  if (plain && (!*text || !strcmp(text, "~") || !strcmp(text, "null"))) return Fail(check, line, "a key has no value");
  return 0;
}

static int OnOpen(Check *check, const yaml_event_t *event, int is_list)
{
  const size_t line   = event->start_mark.line;
  const char  *anchor = (const char *)(is_list ? event->data.sequence_start.anchor : event->data.mapping_start.anchor);

  if (is_list && !check->depth) return Fail(check, line, "want 'key: value' lines, found a list");
  if (check->depth && check->level[check->depth - 1].is_list)
    return Fail(check, line, "a list can hold only plain values");
  if (check->depth && check->level[check->depth - 1].want_key) return Fail(check, line, "a key must be a plain word");
  if (check->depth == MAX_DEPTH) return Fail(check, line, "keys nested more than %d deep", MAX_DEPTH);
  if (AddAnchor(check, line, (const yaml_char_t *)anchor)) return FW_EXIT_INPUT;
  check->level[check->depth++] = (Level){.is_list = is_list, .want_key = 1, .anchor = anchor ? strdup(anchor) : NULL};
  return 0;
}

static int OnClose(Check *check)
{
  check->depth--;
  free(check->level[check->depth].key);
  free(check->level[check->depth].anchor);
  if (check->depth) check->level[check->depth - 1].want_key = 1;
  return 0;
}

/* PETSc would follow an alias inside what it stands for, for ever */
static int OnAlias(Check *check, const yaml_event_t *event)
{
  const char  *anchor = (const char *)event->data.alias.anchor;
  const size_t line   = event->start_mark.line;
  int          is_found;

  for (int i = 0; i < check->depth; i++)
    if (check->level[i].anchor && !strcmp(check->level[i].anchor, anchor))
      return Fail(check, line, "'*%s' stands inside itself", anchor);
  if (FindOrAdd(&check->anchors, anchor, line, &is_found)) return Fail(check, line, "out of memory");
  if (!is_found) return Fail(check, line, "'*%s' stands for nothing: there is no '&%s' before it", anchor, anchor);
  if (check->depth) check->level[check->depth - 1].want_key = 1;
  return 0;
}

static int OnEvent(Check *check, const yaml_event_t *event)
{
  switch (event->type) {
    case YAML_STREAM_START_EVENT:
      return event->data.stream_start.encoding == YAML_UTF8_ENCODING
               ? 0
               : Fail(check, 0, "this is UTF-16: save it as UTF-8");
    case YAML_DOCUMENT_START_EVENT:
      return ++check->n_document > 1 ? Fail(check, event->start_mark.line, "a second document ('---') begins here") : 0;
    case YAML_SCALAR_EVENT:
      return OnScalar(check, event);
    case YAML_ALIAS_EVENT:
      return OnAlias(check, event);
    case YAML_MAPPING_START_EVENT:
      return OnOpen(check, event, 0);
    case YAML_SEQUENCE_START_EVENT:
      return OnOpen(check, event, 1);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
      return OnClose(check);
    default:
      return 0;
  }
}

static int Walk(Check *check, yaml_parser_t *parser)
{
  int code = 0, is_done = 0;

  while (!code && !is_done) {
    yaml_event_t event;

    if (!yaml_parser_parse(parser, &event))
      return Fail(check, parser->problem_mark.line, "not YAML: %s", parser->problem ? parser->problem : "unreadable");
    code    = OnEvent(check, &event);
    is_done = event.type == YAML_STREAM_END_EVENT;
    yaml_event_delete(&event);
  }
  return code;
}

int FwInputCheck(const char path[], char message[], size_t size)
{
  Check         check = {.path = path, .message = message, .size = size};
  yaml_parser_t parser;
  int           descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* a FIFO must not make us wait */
  FILE         *file       = descriptor < 0 ? NULL : fdopen(descriptor, "rb");
  struct stat   status;
  int           code;

  if (!file) {
    snprintf(message, size, "cannot open input file '%s': %s", path, strerror(errno));
    return FW_EXIT_FILE;
  }
  if (fstat(fileno(file), &status) || !S_ISREG(status.st_mode)) {
    snprintf(message, size, "input file '%s' is not a regular file", path);
    fclose(file);
    return FW_EXIT_INPUT;
  }
  if (!yaml_parser_initialize(&parser)) {
    fclose(file);
    return Fail(&check, 0, "out of memory");
  }
  yaml_parser_set_input_file(&parser, file);
  code = Walk(&check, &parser);
  while (check.depth) OnClose(&check);
  free(seen.keys);
  seen.keys = check.keys;
  snprintf(seen.path, sizeof seen.path, "%s", path);
  free(check.anchors);
  yaml_parser_delete(&parser);
  fclose(file);
  return code;
}

void FwInputPlace(const char key[], size_t size, char place[])
{
  char *line;

  place[0] = '\0';
  if (!seen.keys || asprintf(&line, "\n%s\n:", key) < 0) return;
  if (strstr(seen.keys, line))
    snprintf(place, size, "%s:%lu: ", seen.path, strtoul(strstr(seen.keys, line) + strlen(line), NULL, 10));
  free(line);
}
