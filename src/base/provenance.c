/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Where a result comes from.
 */

#include <finwidth/provenance.h>
#include <finwidth/quote.h>

#include "commit.h"

#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* There only when the BLAS that the system chose is OpenBLAS */
extern char *openblas_get_config(void) __attribute__((weak));

#ifndef FINWIDTH_HAVE_ELPA
  #define FINWIDTH_HAVE_ELPA "none"
#endif

const char *FwVersion(void)
{
  return FINWIDTH_VERSION;
}

const char *FwCommit(void)
{
  return FINWIDTH_COMMIT;
}

/* Widest vectors of this processor, which the vectorised loops and the BLAS choose by */
static const char *Simd(void)
{
#if defined(__x86_64__)
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") ? "avx512" : __builtin_cpu_supports("avx2") ? "avx2" : "sse2";
#else
  return "not x86";
#endif
}

const char *FwLibraries(void)
{
  static char text[2048];
  char        mpi[MPI_MAX_LIBRARY_VERSION_STRING];
  int         length;
  unsigned    major, minor, release;

  MPI_Get_library_version(mpi, &length);
  mpi[strcspn(mpi, ",\n")] = '\0';
  H5get_libversion(&major, &minor, &release);
  snprintf(text, sizeof text,
           "compiler: gcc %s\nsimd: %s\nmpi: %s\npetsc: %d.%d.%d\nscalapack: 2.2\nelpa: %s\nhdf5: %u.%u.%u\nblas: %s\n",
           __VERSION__, Simd(), mpi, PETSC_VERSION_MAJOR, PETSC_VERSION_MINOR, PETSC_VERSION_SUBMINOR,
           FINWIDTH_HAVE_ELPA, major, minor, release,
           openblas_get_config ? openblas_get_config() : "the system's libblas");
  return text;
}

static char *command_line;

static int NeedsQuotes(const char word[])
{
  return !*word ||
         word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/+-,:=@%")] != '\0';
}

PetscErrorCode FwCommandLineSet(int argc, char **argv)
{
  size_t size = 1, used = 0;

  for (int i = 0; i < argc; i++) size += 4 * strlen(argv[i]) + 3;
  free(command_line);
  command_line = calloc(size, 1);
  if (!command_line) return PETSC_ERR_MEM;
  for (int i = 0; i < argc; i++) {
    char *quoted = NeedsQuotes(argv[i]) ? FwQuote(argv[i]) : strdup(argv[i]);

    if (!quoted) return PETSC_ERR_MEM;
    used += (size_t)snprintf(command_line + used, size - used, "%s%s", i ? " " : "", quoted);
    free(quoted);
  }
  return PETSC_SUCCESS;
}

const char *FwCommandLine(void)
{
  return command_line ? command_line : "";
}

const char *FwCitation(void)
{
  return "finwidth " FINWIDTH_VERSION
         "\n"
         "Pacelli, Ariosto, Pastore, Ginelli, Gherardi, Rotondo, Nat. Mach. Intell. 5 (2023), arXiv:2209.04882";
}
