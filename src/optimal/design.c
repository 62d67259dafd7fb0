/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Products with a matrix of drawn inputs, a panel of rows at a time.
 *
 * A panel is what stays in cache between X W and X^T G. Panels are parts of blocks, and blocks do not depend on the ranks:
 * every product is of the same shapes however the rows are divided.
 */

#include <finwidth/block_sum.h>
#include <finwidth/dense.h>
#include <finwidth/design.h>

#include <math.h>

struct FwDesignImpl {
  MPI_Comm     comm;
  FwDesignPlan plan;
  FwRows       rows;
  PetscInt     width;   /* d, or d + 1 with a constant */
  PetscInt     n_panel; /* rows of a panel */
  double      *x;       /* all local rows, or room for a chunk of blocks */
  double      *u;       /* [n_column, n_panel] */
  double      *total;   /* [n_column width + n_scalar] */
  FwBlockSum   sum, sum_scalar;
};

/* --- life ----------------------------------------------------------------------------------------------------- */

/* A panel of 4 MB is still in the third-level cache when it is needed again; fewer rows than 8 are no product */
static PetscInt PanelRows(const FwDesignPlan *plan)
{
  const PetscInt64 room = 1 << 19;
  PetscInt         n    = 256;

  while (n > 8 && (PetscInt64)n * plan->d > room) n /= 2;
  return n;
}

static PetscInt ChunkRows(const FwRows *rows, PetscInt b, PetscInt n)
{
  return FwRowsBlock(rows, rows->first_block + b + n) - FwRowsBlock(rows, rows->first_block + b);
}

/* The largest chunk of this rank */
static PetscInt MostRows(const FwRows *rows)
{
  PetscInt most = 0;

  for (PetscInt b = 0; b < rows->n_local_block; b += FW_DESIGN_CHUNK)
    most = PetscMax(most, ChunkRows(rows, b, PetscMin(FW_DESIGN_CHUNK, rows->n_local_block - b)));
  return most;
}

double FwDesignBytes(const FwDesignPlan *plan, PetscInt n_rank)
{
  const double block = 256.0, width = plan->d + 1.0, rows = ceil(plan->n / block / n_rank) * block;
  const double sums = n_rank > 1 ? 3.0 * ceil(rows / block) : 2.0;

  return 8.0 *
         (width * (plan->is_kept ? rows : PetscMin(rows, block * FW_DESIGN_CHUNK)) + sums * width * plan->n_column);
}

/* Rows first .. first + n - 1 of all */
static void Draw(FwDesign design, PetscInt first, PetscInt n, double x[])
{
  const FwDesignPlan *plan = &design->plan;
  const uint64_t      d    = (uint64_t)plan->d;

  if (design->width == plan->d) {
    FwStreamNormalBulk(plan->stream, (uint64_t)first * d, (size_t)n * d, x);
    return;
  }
  for (PetscInt i = 0; i < n; i++) {
    double *row = x + (size_t)i * (size_t)design->width;

    FwStreamNormalBulk(plan->stream, (uint64_t)(first + i) * d, d, row);
    row[d] = plan->constant;
  }
}

PetscErrorCode FwDesignCreate(MPI_Comm comm, const FwDesignPlan *plan, FwDesign *design)
{
  FwDesign new;
  PetscInt n_row;

  PetscFunctionBegin;
  PetscCall(PetscNew(&new));
  new->comm    = comm;
  new->plan    = *plan;
  new->width   = plan->d + (plan->constant != 0.0);
  new->n_panel = PanelRows(plan);
  PetscCall(FwRowsDivide(comm, plan->n, &new->rows));
  n_row = plan->is_kept ? new->rows.n_local : MostRows(&new->rows);
  PetscCall(PetscMalloc3((size_t)n_row * (size_t) new->width, &new->x, plan->n_column * new->n_panel, &new->u,
                         (size_t)plan->n_column * (size_t) new->width + (size_t)plan->n_scalar, &new->total));
  PetscCall(FwBlockSumCreate(comm, &new->rows, plan->n_column * new->width + plan->n_scalar, &new->sum));
  PetscCall(FwBlockSumCreate(comm, &new->rows, plan->n_scalar, &new->sum_scalar));
  if (plan->is_kept) Draw(new, new->rows.first, new->rows.n_local, new->x);
  *design = new;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwDesignDestroy(FwDesign *design)
{
  FwDesign old = *design;

  PetscFunctionBegin;
  if (!old) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(FwBlockSumDestroy(&old->sum));
  PetscCall(FwBlockSumDestroy(&old->sum_scalar));
  PetscCall(PetscFree3(old->x, old->u, old->total));
  PetscCall(PetscFree(*design));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const FwDesignPlan *FwDesignGetPlan(FwDesign design)
{
  return &design->plan;
}

const FwRows *FwDesignRows(FwDesign design)
{
  return &design->rows;
}

PetscInt FwDesignWidth(FwDesign design)
{
  return design->width;
}

PetscErrorCode FwDesignGetBlocks(FwDesign design, PetscInt b, PetscInt n, const double **x)
{
  const FwRows  *rows  = &design->rows;
  const PetscInt first = FwRowsBlock(rows, rows->first_block + b);

  PetscFunctionBegin;
  PetscAssert(n <= FW_DESIGN_CHUNK && b + n <= rows->n_local_block, PETSC_COMM_SELF, PETSC_ERR_PLIB, "blocks");
  *x = design->x;
  if (design->plan.is_kept)
    *x += (size_t)(first - rows->first) * (size_t)design->width;
  else
    Draw(design, first, ChunkRows(rows, b, n), design->x);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* --- passes --------------------------------------------------------------------------------------------------- */

typedef struct {
  FwDesign      design;
  const double *w;
  FwDesignMap  *map;
  void         *context;
  PetscBool     has_out;
} Pass;

/* U = X W / sqrt(d) of m rows; one column through the products of a matrix with a vector, which pack nothing */
static void Forward(const Pass *p, PetscInt m, const double x[])
{
  const FwDesign     s     = p->design;
  const double       scale = 1.0 / sqrt((double)s->plan.d), zero = 0.0;
  const PetscBLASInt n = s->width, one = 1;

  if (s->plan.n_column == 1)
    BLASgemv_("T", &n, &m, &scale, x, &n, p->w, &one, &zero, s->u, &one);
  else
    FwGemm("T", "N", m, s->plan.n_column, n, scale, x, n, p->w, n, 0.0, s->u, m);
}

/* sum += X^T G / sqrt(d) */
static void Backward(const Pass *p, PetscInt m, const double x[], double sum[])
{
  const FwDesign     s     = p->design;
  const double       scale = 1.0 / sqrt((double)s->plan.d), unit = 1.0;
  const PetscBLASInt n = s->width, one = 1;

  if (s->plan.n_column == 1)
    BLASgemv_("N", &n, &m, &scale, x, &n, s->u, &one, &unit, sum, &one);
  else
    FwGemm("N", "N", n, s->plan.n_column, m, scale, x, n, s->u, m, 1.0, sum, n);
}

/* The sums of one local block of rows x, to `slot`: [n_column, width] where wanted, then [n_scalar] */
static PetscErrorCode PassBlock(const Pass *p, PetscInt b, const double x[], double slot[])
{
  const FwDesign s       = p->design;
  const PetscInt n_block = ChunkRows(&s->rows, b, 1), n_out = p->has_out ? s->plan.n_column * s->width : 0;
  const PetscInt first = FwRowsBlock(&s->rows, s->rows.first_block + b) - s->rows.first;

  PetscFunctionBegin;
  PetscCall(PetscArrayzero(slot, n_out + s->plan.n_scalar));
  for (PetscInt i = 0; i < n_block; i += s->n_panel) {
    const PetscInt m   = PetscMin(s->n_panel, n_block - i);
    const double  *row = x + (size_t)i * (size_t)s->width;

    if (p->w) Forward(p, m, row);
    PetscCall(p->map(p->context, first + i, m, s->u, slot + n_out));
    if (p->has_out) Backward(p, m, row, slot);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PassLocal(const Pass *p, FwBlockSum *sum)
{
  const FwDesign s = p->design;
  const double  *x;

  PetscFunctionBegin;
  for (PetscInt b = 0; b < s->rows.n_local_block; b++) {
    PetscCall(FwDesignGetBlocks(s, b, 1, &x));
    PetscCall(PassBlock(p, b, x, FwBlockSumSlot(sum, b, s->total)));
    FwBlockSumAdd(sum, b, s->total);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FwDesignPass(FwDesign design, const double w[], FwDesignMap *map, void *context, double scalar[],
                            double out[])
{
  const Pass pass = {
    .design = design, .w = w, .map = map, .context = context, .has_out = out ? PETSC_TRUE : PETSC_FALSE};
  const PetscInt n_out = out ? design->plan.n_column * design->width : 0;
  FwBlockSum    *sum   = out ? &design->sum : &design->sum_scalar;

  PetscFunctionBegin;
  PetscCall(FwErrorAgreeAny(design->comm, PassLocal(&pass, sum)));
  PetscCall(FwBlockSumFinish(sum, design->total));
  if (out) PetscCall(PetscArraycpy(out, design->total, n_out));
  PetscCall(PetscArraycpy(scalar, design->total + n_out, design->plan.n_scalar));
  PetscFunctionReturn(PETSC_SUCCESS);
}
