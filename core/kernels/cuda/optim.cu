// Steps of optimizers on many arrays at once: one launch for all of a dtype, so that small parameters cost no launches.
// An array is cut into chunks of CHUNK elements; a block does one. Bytes: AdamW in float32 reads 16 and writes 12 an element.
#include "reduce.cuh"

const int CHUNK = 16384;

// The part of an array that this block works on. `lists` holds the addresses, list after list: all parameters, all gradients ...
struct Part {
  const uint64* lists;
  int arrays, array;
  int64 start;
  int count;
  __device__ Part(const uint64* lists, const int64* sizes, const int* chunks, int arrays) : lists(lists), arrays(arrays) {
    array = chunks[2 * blockIdx.x];
    start = (int64)chunks[2 * blockIdx.x + 1] * CHUNK;
    count = (int)min((int64)CHUNK, sizes[array] - start);
  }
  template <class T> __device__ __forceinline__ T* list(int number) const {
    return reinterpret_cast<T*>(lists[(int64)number * arrays + array]) + start;
  }
};

// f(i) for this thread's elements: neighbouring threads touch neighbours, and four loads are on their way at once.
template <class F> __device__ __forceinline__ void each_of_part(int count, F f) {
  int i = threadIdx.x;
  for (; i + 3 * (int)blockDim.x < count; i += 4 * blockDim.x) {
#pragma unroll
    for (int k = 0; k < 4; k++) f(i + k * blockDim.x);
  }
  for (; i < count; i += blockDim.x) f(i);
}

// A number of a step: by value, or where a captured graph finds that of this launch.
__device__ __forceinline__ double number(const double* held, int i, double given) { return held ? held[i] : given; }
// Whether an infinity or NaN was found among the gradients: the step is left out then.
__device__ __forceinline__ bool left(const float* found) { return found && *found > 0; }

template <class T>
__device__ void adamw(Part part, const double* held, int amsgrad, double decay_, double l2_, double take_, double take2_,
                      double beta2_, double eps_, double correction_, double rate_, int maximize) {
  typedef Wide<T> W;
  T* param = part.list<T>(0);
  const T* grad = part.list<T>(1);
  W *first = part.list<W>(2), *second = part.list<W>(3), *most = amsgrad ? part.list<W>(4) : nullptr;
  const W decay = number(held, 0, decay_), l2 = number(held, 1, l2_), take = number(held, 2, take_), take2 = number(held, 3, take2_);
  const W beta2 = number(held, 4, beta2_), eps = number(held, 5, eps_), correction2 = number(held, 6, correction_);
  const W rate = number(held, 7, rate_);
  each_of_part(part.count, [&](int i) {
    W p = read(param[i]), g = read(grad[i]);
    if (maximize) g = -g;
    p = p * decay;
    if (l2 != 0) g = g + p * l2;
    W m = first[i], v = second[i];
    m = m + (g - m) * take;
    v = v * beta2 + g * g * take2;
    first[i] = m, second[i] = v;
    if (amsgrad) most[i] = v = greater(most[i], v);
    param[i] = write<T>(p - m / (root(v) / correction2 + eps) * rate);
  });
}

template <class T>
__device__ void sgd(Part part, const double* held, int buffered, int first, double lr_, double momentum_, double take_,
                    double decay_, int nesterov, int maximize) {
  typedef Wide<T> W;
  T* param = part.list<T>(0);
  const T* grad = part.list<T>(1);
  W* buffer = buffered ? part.list<W>(2) : nullptr;
  const W lr = number(held, 0, lr_), momentum = number(held, 1, momentum_), take = number(held, 2, take_);
  const W decay = number(held, 3, decay_);
  each_of_part(part.count, [&](int i) {
    W p = read(param[i]), g = read(grad[i]);
    if (maximize) g = -g;
    if (decay != 0) g = g + p * decay;
    if (buffered) {
      W b = first ? g : buffer[i] * momentum + g * take;
      buffer[i] = b;
      g = nesterov ? g + b * momentum : b;
    }
    param[i] = write<T>(p - g * lr);
  });
}

template <class T>
__device__ void lion(Part part, const double* held, double decay_, double take1_, double take2_, double lr_, int maximize) {
  typedef Wide<T> W;
  T* param = part.list<T>(0);
  const T* grad = part.list<T>(1);
  W* average = part.list<W>(2);
  const W decay = number(held, 0, decay_), take1 = number(held, 1, take1_), take2 = number(held, 2, take2_);
  const W lr = number(held, 3, lr_);
  each_of_part(part.count, [&](int i) {
    W p = read(param[i]), g = read(grad[i]), m = average[i];
    if (maximize) g = -g;
    W update = m + (g - m) * take1;
    W sign = update > 0 ? (W)1 : update < 0 ? (W)-1 : update;  // of 0 it is 0, of NaN NaN
    param[i] = write<T>(p * decay - sign * lr);
    average[i] = m + (g - m) * take2;
  });
}

// A gradient times `inverse` (left alone without), and `found` set where a number of it is not finite: all that write, write 1.
template <class T> __device__ void unscale(Part part, const float* inverse, float* found) {
  typedef Wide<T> W;
  T* grad = part.list<T>(0);
  const W factor = inverse ? *inverse : 1;
  bool bad = false;
  each_of_part(part.count, [&](int i) {
    W g = read(grad[i]);
    bad |= !(g - g == 0);
    if (inverse) grad[i] = write<T>(g * factor);
  });
  if (bad) *found = 1;
}

template <class T> __device__ void clip(Part part, double max_norm, double total) {
  double factor = max_norm / (total + 1e-6);
  if (factor >= 1) return;
  T* x = part.list<T>(0);
  each_of_part(part.count, [&](int i) { x[i] = write<T>(read(x[i]) * (Wide<T>)factor); });
}

#define PART Part(lists, sizes, chunks, arrays)
#define LISTS const uint64 *lists, const int64 *sizes, const int *chunks, int arrays
#define STEP const double *held, const float *found
#define KERNEL extern "C" __global__ void __launch_bounds__(256)
#define DEFINE(S, T)                                                                                                       \
  KERNEL adamw_##S(LISTS, STEP, int amsgrad, double decay, double l2, double take, double take2, double beta2, double eps, \
                   double correction, double rate, int maximize) {                                                         \
    if (left(found)) return;                                                                                               \
    adamw<T>(PART, held, amsgrad, decay, l2, take, take2, beta2, eps, correction, rate, maximize);                         \
  }                                                                                                                        \
  KERNEL sgd_##S(LISTS, STEP, int buffered, int first, double lr, double momentum, double take, double decay,              \
                 int nesterov, int maximize) {                                                                             \
    if (left(found)) return;                                                                                               \
    sgd<T>(PART, held, buffered, first, lr, momentum, take, decay, nesterov, maximize);                                    \
  }                                                                                                                        \
  KERNEL lion_##S(LISTS, STEP, double decay, double take1, double take2, double lr, int maximize) {                        \
    if (left(found)) return;                                                                                               \
    lion<T>(PART, held, decay, take1, take2, lr, maximize);                                                                \
  }                                                                                                                        \
  KERNEL unscale_##S(LISTS, const float* inverse, float* found) { unscale<T>(PART, inverse, found); }                      \
  KERNEL clip_f32_##S(LISTS, double max_norm, const float* total) { clip<T>(PART, max_norm, *total); }                     \
  KERNEL clip_f64_##S(LISTS, double max_norm, const double* total) { clip<T>(PART, max_norm, *total); }                    \
  KERNEL ema_##S(LISTS, const double* held, double weight_) {                                                              \
    Part part = PART;                                                                                                      \
    const T* x = part.list<T>(0);                                                                                          \
    Wide<T>* average = part.list<Wide<T>>(1);                                                                              \
    const Wide<T> weight = number(held, 0, weight_);                                                                       \
    each_of_part(part.count, [&](int i) { average[i] = average[i] + (read(x[i]) - average[i]) * weight; });             \
  }                                                                                                                        \
  KERNEL squares_##S(LISTS, double* sums) {                                                                                \
    Part part = PART;                                                                                                      \
    const T* x = part.list<T>(0);                                                                                          \
    double sum = 0;                                                                                                        \
    each_of_part(part.count, [&](int i) { sum += (double)read(x[i]) * (double)read(x[i]); });                           \
    sum = block_reduce(sum, Sum(), 0.0);                                                                                   \
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;                                                                          \
  }
FOR_FLOATS(DEFINE)

// One block: the sum of what the blocks before gave, in an order of its own.
KERNEL add_up(const double* sums, double* total, int64 n) {
  double sum = 0;
  for (int64 i = threadIdx.x; i < n; i += blockDim.x) sum += sums[i];
  sum = block_reduce(sum, Sum(), 0.0);
  if (threadIdx.x == 0) *total = sum;
}

// One thread each: numbers that depend on which steps were left out, and the scale of a loss.
KERNEL corrections(const double* held, double decay, double l2, double take, double take2, double beta2, double eps, double step,
                   double lr, double beta1, const int* left_out, double* made) {
  const double bases[6] = {decay, l2, take, take2, beta2, eps};
  for (int i = 0; i < 6; i++) made[i] = number(held, i, bases[i]);
  const double taken = number(held, 6, step) - *left_out;
  made[6] = sqrt(1 - pow(made[4], taken));
  made[7] = number(held, 7, lr) / (1 - pow(number(held, 8, beta1), taken));
}

KERNEL count_left_out(const float* found, int* left_out) {
  if (left(found)) *left_out += 1;
}

KERNEL update_scale(float* scale, int* tracker, const float* found, float growth, float backoff, int interval) {
  if (left(found)) {
    *scale *= backoff, *tracker = 0;
  } else if (*tracker + 1 == interval) {
    float grown = *scale * growth;
    if (grown - grown == 0) *scale = grown;
    *tracker = 0;
  } else {
    *tracker += 1;
  }
}
