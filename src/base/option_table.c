/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Every key of finwidth: one row each. Parsing, help, docs/keys.md and the resolved input are made from it.
 */

#include <finwidth/option.h>

#include <float.h>
#include <math.h>

static const double any = DBL_MAX, huge_count = 2147483647.0;

#define TEXT(key, value, who, line)                                                         \
  {                                                                                         \
    .name = key, .type = FW_KEY_TEXT, .default_value = value, .commands = who, .help = line \
  }
#define CHOICE(key, value, names, who, line)                                                                    \
  {                                                                                                             \
    .name = key, .type = FW_KEY_CHOICE, .default_value = value, .choices = names, .commands = who, .help = line \
  }
#define BOOLEAN(key, value, who, line)                                                         \
  {                                                                                            \
    .name = key, .type = FW_KEY_BOOLEAN, .default_value = value, .commands = who, .help = line \
  }
#define COUNT(key, value, least, most, who, line)                                                   \
  {                                                                                                 \
    .name = key, .type = FW_KEY_INTEGER, .default_value = value, .minimum = least, .maximum = most, \
    .commands = who, .help = line                                                                   \
  }
#define INTEGER(key, value, least, who, line) COUNT(key, value, least, huge_count, who, line)
#define INTEGERS(key, value, least, who, line)                                                            \
  {                                                                                                       \
    .name = key, .type = FW_KEY_INTEGER, .is_list = PETSC_TRUE, .default_value = value, .minimum = least, \
    .maximum = huge_count, .commands = who, .help = line                                                  \
  }
#define REAL(key, value, dimension, least, open, who, line)                                                         \
  {                                                                                                                 \
    .name = key, .type = FW_KEY_REAL, .default_value = value, .unit = dimension, .minimum = least, .is_open = open, \
    .maximum = any, .commands = who, .help = line                                                                   \
  }
#define REALS(key, value, least, open, who, line)                                                      \
  {                                                                                                    \
    .name = key, .type = FW_KEY_REAL, .is_list = PETSC_TRUE, .default_value = value, .minimum = least, \
    .is_open = open, .maximum = any, .commands = who, .help = line                                     \
  }

enum {
  DATA    = FW_FOR_PREDICT | FW_FOR_SAMPLE | FW_FOR_MIXTURE | FW_FOR_ANSATZ,
  NETWORK = FW_FOR_ALL,
  PREDICT = FW_FOR_PREDICT | FW_FOR_SAMPLE,
  SAMPLER = FW_FOR_SAMPLE | FW_FOR_OPTIMAL
};

#define ACTIVATIONS "erf,relu,linear,tanh,sin,gelu,sign,quadratic,softplus,leaky-relu,hardtanh"

static const FwKey table[] = {
  TEXT("output", NULL, FW_FOR_ALL, "result file (the input's base name, or the command's name, + .h5)"),
  BOOLEAN("overwrite", "false", FW_FOR_ALL, "replace an existing result"),
  BOOLEAN("resume", "false", FW_FOR_ALL, "continue an interrupted run"),
  INTEGER("seed", "1", 0, FW_FOR_ALL, "one integer for everything random"),
  {.name     = "walltime",
                                                                     .type     = FW_KEY_DURATION,
                                                                     .unit     = "HH:MM:SS",
                                                                     .commands = FW_FOR_ALL,
                                                                     .help     = "stop cleanly before this time is over"                                                                             },
  { .name     = "memory",
                                                                     .type     = FW_KEY_BYTES,
                                                                     .unit     = "bytes, such as 8G",
                                                                     .commands = FW_FOR_ALL,
                                                                     .help     = "memory per rank that may be used (what the node has or its control group allows, divided by its ranks)"},
  BOOLEAN("dry_run", "false", FW_FOR_ALL, "check, print the resolved input and the estimate, stop"),
  REAL("temperature", "0.01", "label^2", 0.0, PETSC_FALSE, FW_FOR_ALL,
       "T of the posterior exp(-loss/T), loss = 1/2 sum (y - f)^2"),

  CHOICE("data_source", "glyphs", "glyphs,teacher,mnist,cifar10,hdf5,csv", DATA, "where the examples come from"),
  TEXT("data_path", NULL, DATA, "file, or folder with a training and a test file ($FINWIDTH_DATA/<source>)"),
  CHOICE("data_split", "sequence", "sequence,files", DATA,
         "test examples: after the training ones, or from the test file"),
  TEXT("data_images", NULL, DATA, "IDX file of images below data_path, plain or .gz (found by its usual name)"),
  TEXT("data_labels", NULL, DATA, "IDX file of labels below data_path, plain or .gz (found by its usual name)"),
  TEXT("data_inputs", "x", DATA, "name of the inputs in an HDF5 file"),
  TEXT("data_targets", "y", DATA, "name of the targets in an HDF5 file"),
  TEXT("data_predict", NULL, PREDICT, "HDF5 file of further inputs without labels: store their means and deviations"),
  INTEGERS("data_classes", NULL, 0, DATA, "classes to keep (all; glyphs: 0,1)"),
  CHOICE("data_encoding", NULL, "sign,onehot,value", DATA,
         "targets from classes (sign for two classes, onehot for more, value for hdf5, csv, teacher)"),
  INTEGER("data_train", "500", 1, DATA, "number P of training examples"),
  INTEGER("data_test", "500", 0, DATA, "number of test examples"),
  INTEGER("data_validation", "0", 0, PREDICT,
          "number of validation examples, after the test ones: the order parameter is also learnt on them"),
  INTEGER("data_skip", "0", 0, DATA, "examples to pass over first"),
  INTEGER("teacher_inputs", "100", 1, DATA, "inputs N_0 of the built-in teacher"),
  CHOICE("teacher_kind", "linear", "linear,one-layer,single-index,low-rank,clusters", DATA, "the built-in teacher"),
  INTEGER("teacher_width", "100", 1, DATA, "hidden units of a one-layer teacher"),
  REAL("teacher_noise", "0", "label^2", 0.0, PETSC_FALSE, DATA, "variance of the noise on a teacher's labels"),
  REAL("teacher_spectrum", "0", NULL, 0.0, PETSC_FALSE, DATA,
       "a of the inputs' variances i^-a, i = 1 .. N_0 (all are 1)"),
  REAL("teacher_offset", "0", "label", -INFINITY, PETSC_FALSE, DATA, "added to every label of a teacher"),
  REALS("teacher_singular", "3,2,1", 0.0, PETSC_TRUE, DATA,
        "singular values of the matrix of a low-rank teacher with network_outputs outputs (their number)"),
  REAL("teacher_spread", "1", NULL, 0.0, PETSC_FALSE, DATA,
       "deviation of an input around the centre of its cluster, network_outputs (10) clusters with centres ~ N(0, 1)"),
  BOOLEAN("data_shuffle", "false", DATA, "draw the examples in an order given by the seed"),
  INTEGER("data_size", NULL, 1, DATA, "side of the square image after area-averaging (the file's; glyphs: 16)"),
  BOOLEAN("data_gray", "true", DATA, "colour to luminance"),
  CHOICE("data_scramble", "none", "none,pixels,patches,labels", DATA,
         "control: pixels of the image, pixels inside each patch of network_mask, or labels, in an order given by the seed"),
  CHOICE("data_normalise", "standard", "none,unit,standard,columns", DATA,
         "none: bytes / 255; unit: each example to norm sqrt(N_0); standard: mean 0, deviation 1 over all training pixels; "
         "columns: of each input for itself"),

  CHOICE("network_type", "fc", "fc,cnn,lcn,pool", NETWORK, "architecture"),
  COUNT("network_depth", NULL, 0, 1e5, NETWORK, "hidden layers L, of 'optimal' also 0 (the number of widths, or 1)"),
  INTEGERS("network_width", "100", 1, NETWORK, "width N, or one per hidden layer; channels for cnn, lcn, pool"),
  {                                                                                                     .name          = "network_activation",
                                                                     .type          = FW_KEY_CHOICE,
                                                                     .is_list       = PETSC_TRUE,
                                                                     .default_value = "erf",
                                                                     .choices       = ACTIVATIONS,
                                                                     .commands      = NETWORK,
                                                                     .help          = "activation, one or one per hidden layer"},
  REALS("network_prior", "1", 0.0, PETSC_TRUE, NETWORK,
        "lambda_0..lambda_L, one or one per layer: weights have variance 1/lambda"),
  REAL("network_prior_readout", NULL, NULL, 0.0, PETSC_TRUE, NETWORK, "lambda_L alone, over the last of network_prior"),
  REALS("network_bias", "0", 0.0, PETSC_FALSE, NETWORK, "variance of the biases, one or one for each of layers 0..L"),
  INTEGER("network_outputs", NULL, 1, NETWORK, "number D of outputs (1; with onehot the number of classes)"),
  INTEGERS("network_mask", "4", 1, NETWORK, "side of the patch, or a pair"),
  INTEGERS("network_stride", NULL, 1, NETWORK, "step of the patch, or a pair (the mask's)"),
  INTEGERS("network_upper_mask", "2", 1, NETWORK,
           "side of the patch of positions that further layers of cnn, lcn, pool see, one or one per layer from the second"),
  INTEGERS("network_upper_stride", NULL, 1, NETWORK, "its step, one or one per layer from the second (the mask's)"),

  CHOICE("theory_model", "renormalised", "renormalised,infinite,ntk", PREDICT, "finite width, infinite width, or NTK"),
  CHOICE("theory_composition", "product", "product,nested,linearised", PREDICT, "for depth >= 2"),
  CHOICE("theory_closure", "paths", "paths,stacked", PREDICT,
         "order parameter of several layers of patches: between paths (exact for linear networks), or of the last layer"),
  CHOICE("theory_bandwidth", "auto", "auto,64,1,0", PREDICT,
         "form of the decomposed kernel: banded, tridiagonal, eigenvectors (auto: by the estimate)"),
  TEXT("theory_decomposition", NULL, PREDICT, "file that keeps the decomposed kernel, read again by later runs"),
  BOOLEAN("theory_observables", "false", PREDICT,
          "alignment, hidden Gram matrix and first-layer weights after learning"),
  BOOLEAN("theory_average", NULL, PREDICT,
          "exact average over the order parameter beside the saddle point (true where it is cheap)"),
  COUNT("theory_starts", "1", 1, 10000, PREDICT,
          "starts of the search for minima: Q = 1 and drawn ones (patches; with 1 a scan begins at the point before)"),
  INTEGER("theory_draws", "64", 2, PREDICT,
          "draws of each of the 8 chains of the average (patches: an average only where theory_average is given)"),
  CHOICE("theory_mean", "auto", "auto,on,off", PREDICT, "mean terms of a non-odd activation"),
  CHOICE("sampler_method", "hmc", "hmc,mala,langevin", FW_FOR_SAMPLE,
         "Hamiltonian Monte Carlo, Metropolis-adjusted or unadjusted Langevin dynamics"),
  BOOLEAN("sampler_collapsed", NULL, FW_FOR_SAMPLE,
          "integrate the readout out exactly (true for hmc, false for mala and langevin)"),
  COUNT("sampler_chains", "4", 2, 1000, FW_FOR_SAMPLE, "independent chains"),
  COUNT("sampler_samples", "1000", 8, 1e6, SAMPLER, "samples of each chain after burn-in"),
  COUNT("sampler_burnin", "500", 0, 1e6, SAMPLER, "samples of each chain that are thrown away"),
  REAL("sampler_step", NULL, NULL, 0.0, PETSC_TRUE, SAMPLER,
       "step e of a leapfrog; langevin's h is e^2/2 (tuned in burn-in)"),
  COUNT("sampler_leapfrog", NULL, 1, 680, SAMPLER, /* times 3/2: the sampler's longest trajectory */
        "mean leapfrog steps of a sample; mala, langevin: moves (a trajectory of pi/2; 1/e^2 moves)"),
  {                                                                                                     .name     = "mixture_a",
                                                                     .type     = FW_KEY_REAL,
                                                                     .maximum  = INFINITY,
                                                                     .commands = FW_FOR_MIXTURE,
                                                                     .help     = "a of the limit law, or infinity; a single network_width without a depth then takes a N layers (sum 1/N_l)"},
  {                                                                                                     .name          = "mixture_method",
                                                                     .type          = FW_KEY_CHOICE,
                                                                     .is_list       = PETSC_TRUE,
                                                                     .default_value = "bartlett,exact,limit",
                                                                     .choices       = "brute,bartlett,exact,limit",
                                                                     .commands      = FW_FOR_MIXTURE,
                                                                     .help          = "samplers and laws to compare: every weight, triangular factors, exact laws, limit law"},
  INTEGER("mixture_samples", "100000", 1, FW_FOR_MIXTURE, "draws of each sampler"),
  INTEGER("mixture_inputs", "2", 1, FW_FOR_MIXTURE,
          "inputs at which outputs are drawn: the first of the data where data_source is given, else orthogonal ones"),
  INTEGERS("mixture_bottleneck", NULL, 1, FW_FOR_MIXTURE, "widths of layers that the limit law keeps finite"),
  INTEGER("mixture_moments", "4", 1, FW_FOR_MIXTURE, "highest order of the moments of Q, up to 12"),
  BOOLEAN("mixture_posterior", "false", FW_FOR_MIXTURE, "posterior for the data and the temperature"),

  REAL("optimal_alpha", "1", NULL, 0.0, PETSC_TRUE, FW_FOR_OPTIMAL, "examples per input dimension, n / d_0"),
  REALS("optimal_gain", "1", 0.0, PETSC_TRUE, FW_FOR_OPTIMAL, "gain of the activations, phi(gain u), one or one per layer"),
  REAL("optimal_input_variance", "1", NULL, 0.0, PETSC_TRUE, FW_FOR_OPTIMAL, "variance of each input"),
  CHOICE("optimal_channel", "gaussian", "gaussian,probit,logistic,abs,tanh,erf", FW_FOR_OPTIMAL,
         "label from the network's output z: z + noise; sign(z + noise); +-1 by logit beta z; |z + noise|; f(gain z) + noise"),
  REAL("optimal_channel_gain", "1", NULL, 0.0, PETSC_TRUE, FW_FOR_OPTIMAL, "gain of the channels tanh and erf"),
  REAL("optimal_noise", "0.1", "label^2", 0.0, PETSC_FALSE, FW_FOR_OPTIMAL, "variance of the noise of a label"),
  REAL("optimal_beta", "1", NULL, 0.0, PETSC_TRUE, FW_FOR_OPTIMAL, "steepness of the channel logistic"),
  CHOICE("optimal_experiment", "none", "none,ridge,gamp,hmc", FW_FOR_OPTIMAL,
         "learner to be tried on drawn teachers: ridge regression, message passing, posterior of the network"),
  INTEGER("optimal_dimension", "200", 2, FW_FOR_OPTIMAL,
          "inputs d of an experiment; its layers are as wide where network_width is not given"),
  INTEGER("optimal_instances", "16", 2, FW_FOR_OPTIMAL, "teachers of an experiment"),
  INTEGER("optimal_test", NULL, 2, FW_FOR_OPTIMAL, "fresh inputs for each teacher (20000; hmc: 1000)"),
  COUNT("optimal_iterations", "1500", 1, 1500, FW_FOR_OPTIMAL, "most iterations of ridge and gamp"), /* FW_EXPERIMENT_STEP_MOST */

  CHOICE("ansatz_optimiser", "flow", "flow,flow-midpoint,flow-strang,gd,momentum,nesterov,sgd,adam,adamw,lmvm,newton",
         FW_FOR_ANSATZ, "how the network is trained: gradient flow, descent, or to a critical point"),
  REAL("ansatz_step", "0.01", NULL, 0.0, PETSC_TRUE, FW_FOR_ANSATZ, "step eta of a descent, h of the midpoint flows"),
  REAL("ansatz_momentum", "0.9", NULL, 0.0, PETSC_FALSE, FW_FOR_ANSATZ, "beta of momentum and nesterov; of sgd where given"),
  INTEGER("ansatz_batch", NULL, 1, FW_FOR_ANSATZ, "examples of a step (sgd: 100 or all there are; adam, adamw: all; others take all always)"),
  BOOLEAN("ansatz_single", "false", FW_FOR_ANSATZ, "gradients through examples in single precision: twice as fast"),
  BOOLEAN("ansatz_shuffle", "true", FW_FOR_ANSATZ, "batches in an order drawn for each epoch, not cyclic"),
  REAL("ansatz_decay", "0", NULL, 0.0, PETSC_FALSE, FW_FOR_ANSATZ, "weight decay mu: mu/2 sum |W|^2"),
  REAL("ansatz_bias_decay", NULL, NULL, 0.0, PETSC_FALSE, FW_FOR_ANSATZ, "decay of the biases (that of the weights)"),
  BOOLEAN("ansatz_biases", "false", FW_FOR_ANSATZ, "biases in every layer (true where ansatz_weights has them)"),
  REAL("ansatz_time", "100", NULL, 0.0, PETSC_TRUE, FW_FOR_ANSATZ, "time t at which a flow ends"),
  INTEGER("ansatz_steps", "10000", 1, FW_FOR_ANSATZ, "steps of a descent; most iterations of lmvm and newton"),
  COUNT("ansatz_measurements", "21", 2, 10000, FW_FOR_ANSATZ,
        "times of measurement: the start, and from 1/1000 of the training to its end by equal factors"),
  REAL("ansatz_tolerance", "1e-10", NULL, 0.0, PETSC_TRUE, FW_FOR_ANSATZ,
       "of flow, absolute and relative per step; of the gradient's norm for lmvm and newton"),
  INTEGER("ansatz_gradients", NULL, 1, FW_FOR_ANSATZ,
          "most gradients of a flow, which is given up beyond (1e6 with kinks as those of relu, else 1e8)"),
  CHOICE("ansatz_order", "8", "8,5", FW_FOR_ANSATZ, "of the Runge-Kutta method of flow: 8(7) or 5(4)"),
  CHOICE("ansatz_loss", "mse", "mse,cross-entropy", FW_FOR_ANSATZ, "1/(2N) sum (f - y)^2, or cross-entropy of softmax f"),
  CHOICE("ansatz_init", "balanced",
         "balanced,balanced-first,householder,small,torch,lecun,xavier,kaiming,unbalanced", FW_FOR_ANSATZ,
         "weights at the start"),
  REAL("ansatz_init_scale", NULL, NULL, 0.0, PETSC_TRUE, FW_FOR_ANSATZ,
       "deviation of small (0.01), factor of unbalanced (3), factor of the weights of all others (1)"),
  REALS("ansatz_init_singular", NULL, 0.0, PETSC_TRUE, FW_FOR_ANSATZ,
        "singular values of W_L .. W_1 for balanced and householder (drawn)"),
  TEXT("ansatz_weights", NULL, FW_FOR_ANSATZ, "HDF5 file of weights at the start: W1, b1, W2, ... (ansatz_init)"),
  COUNT("ansatz_seeds", "1", 1, 100000, FW_FOR_ANSATZ, "runs of each point, from starts with seeds seed, seed + 1, ..."),
  REALS("ansatz_alpha", "0.05,0.1,0.15,0.2,0.25,0.3,0.35,0.4,0.45,0.5,0.6,0.7,0.8,0.9,1", 0.0, PETSC_TRUE, FW_FOR_ANSATZ,
        "powers of the AGOP to compare with"),
  CHOICE("ansatz_case", NULL, "relu-clusters,quadratic-axes,tanh-static,relu-bias", FW_FOR_ANSATZ,
         "a counterexample with its closed form, in place of data and network"),
  REALS("ansatz_case_values", NULL, 0.0, PETSC_TRUE, FW_FOR_ANSATZ,
        "fractions of the clusters (0.9,0.1), variances on the axes (1,4), w and kappa of tanh-static (4,0.01)"),

  TEXT("scan_index", NULL, FW_FOR_ALL, "run only these points of the scan, such as 7, 0-9 or 0-90:10 (all)"),
  BOOLEAN("scan_farm", "false", FW_FOR_ALL, "rank 0 hands out the points to the others as they become idle"),
  INTEGER("scan_ranks", "1", 1, FW_FOR_ALL, "ranks that share one kernel of a scan, at least"),
  CHOICE("scheduler", NULL, "slurm,pbs,lsf", FW_FOR_JOBSCRIPT, "batch system of the script"),
  CHOICE("mode", "single", "single,array,farm", FW_FOR_JOBSCRIPT,
         "one job, an array of tasks with a file each, or one job that hands out points"),
  CHOICE("job_command", NULL, "predict,sample,mixture,optimal,ansatz", FW_FOR_JOBSCRIPT,
         "what the job runs (the command whose keys the input sets; predict where several have them)"),
  TEXT("job_name", NULL, FW_FOR_JOBSCRIPT, "name of the job (the result's)"),
  TEXT("job_account", NULL, FW_FOR_JOBSCRIPT, "account or project (none)"),
  TEXT("job_queue", NULL, FW_FOR_JOBSCRIPT, "partition or queue (the default one)"),
  TEXT("job_modules", NULL, FW_FOR_JOBSCRIPT, "modules to load, separated by commas (a line to fill in)"),
  INTEGER("job_nodes", "1", 1, FW_FOR_JOBSCRIPT, "nodes of the job, or of each task"),
  INTEGER("job_ranks", NULL, 1, FW_FOR_JOBSCRIPT, "ranks on each node (as many as there are kernels, at most 32)"),
  INTEGER("job_tasks", NULL, 1, FW_FOR_JOBSCRIPT, "tasks of an array (one for each kernel, at most 100)"),
  {.name = "job_time", .type = FW_KEY_DURATION, .unit = "HH:MM:SS", .commands = FW_FOR_JOBSCRIPT,
   .help = "limit of the job, or of each task (from the estimate)"},
  {.name = "job_memory", .type = FW_KEY_BYTES, .unit = "bytes, such as 8G", .commands = FW_FOR_JOBSCRIPT,
   .help = "memory of each rank (from the estimate)"},
  TEXT("figure", NULL, FW_FOR_ALL, "which figure to draw (the overview), or none"),
  BOOLEAN("save_weights", "false", FW_FOR_SAMPLE | FW_FOR_ANSATZ, "also store the last weights of each chain or run"),
  BOOLEAN("save_predictions", "false", PREDICT | FW_FOR_MIXTURE, "also store mean and deviation of each test example"),
};

const FwKey *FwKeyTable(PetscInt *n_key)
{
  *n_key = (PetscInt)PETSC_STATIC_ARRAY_LENGTH(table);
  return table;
}
