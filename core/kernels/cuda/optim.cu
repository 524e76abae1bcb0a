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

template <class T>
__device__ void adamw(Part part, int amsgrad, double decay_, double l2_, double beta1_, double beta2_, double correction2_,
                      double eps_, double rate_, int maximize) {
  typedef Wide<T> W;
  T* param = part.list<T>(0);
  const T* grad = part.list<T>(1);
  W *first = part.list<W>(2), *second = part.list<W>(3), *most = amsgrad ? part.list<W>(4) : nullptr;
  const W decay = decay_, l2 = l2_, take = 1 - beta1_, beta2 = beta2_, take2 = 1 - beta2_, correction2 = correction2_, eps = eps_;
  const W rate = rate_;
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
__device__ void sgd(Part part, int buffered, int first, double lr_, double momentum_, double dampening, double decay_, int nesterov,
                    int maximize) {
  typedef Wide<T> W;
  T* param = part.list<T>(0);
  const T* grad = part.list<T>(1);
  W* buffer = buffered ? part.list<W>(2) : nullptr;
  const W lr = lr_, momentum = momentum_, take = 1 - dampening, decay = decay_;
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
__device__ void lion(Part part, double decay_, double beta1_, double beta2_, double lr_, int maximize) {
  typedef Wide<T> W;
  T* param = part.list<T>(0);
  const T* grad = part.list<T>(1);
  W* average = part.list<W>(2);
  const W decay = decay_, take1 = 1 - beta1_, take2 = 1 - beta2_, lr = lr_;
  each_of_part(part.count, [&](int i) {
    W p = read(param[i]), g = read(grad[i]), m = average[i];
    if (maximize) g = -g;
    W update = m + (g - m) * take1;
    W sign = update > 0 ? (W)1 : update < 0 ? (W)-1 : update;  // of 0 it is 0, of NaN NaN
    param[i] = write<T>(p * decay - sign * lr);
    average[i] = m + (g - m) * take2;
  });
}

#define PART Part(lists, sizes, chunks, arrays)
#define LISTS const uint64 *lists, const int64 *sizes, const int *chunks, int arrays
#define DEFINE(S, T)                                                                                                          \
  extern "C" __global__ void __launch_bounds__(256)                                                                           \
      adamw_##S(LISTS, int amsgrad, double decay, double l2, double beta1, double beta2, double correction2, double eps,      \
                double rate, int maximize) {                                                                                  \
    adamw<T>(PART, amsgrad, decay, l2, beta1, beta2, correction2, eps, rate, maximize);                                       \
  }                                                                                                                           \
  extern "C" __global__ void __launch_bounds__(256)                                                                           \
      sgd_##S(LISTS, int buffered, int first, double lr, double momentum, double dampening, double decay, int nesterov,       \
              int maximize) {                                                                                                 \
    sgd<T>(PART, buffered, first, lr, momentum, dampening, decay, nesterov, maximize);                                        \
  }                                                                                                                           \
  extern "C" __global__ void __launch_bounds__(256)                                                                           \
      lion_##S(LISTS, double decay, double beta1, double beta2, double lr, int maximize) {                                    \
    lion<T>(PART, decay, beta1, beta2, lr, maximize);                                                                         \
  }                                                                                                                           \
  extern "C" __global__ void __launch_bounds__(256) scale_##S(LISTS, double factor) {                                         \
    Part part = PART;                                                                                                         \
    T* x = part.list<T>(0);                                                                                                   \
    each_of_part(part.count, [&](int i) { x[i] = write<T>(read(x[i]) * (Wide<T>)factor); });                               \
  }                                                                                                                           \
  extern "C" __global__ void __launch_bounds__(256) ema_##S(LISTS, double weight) {                                           \
    Part part = PART;                                                                                                         \
    const T* x = part.list<T>(0);                                                                                             \
    Wide<T>* average = part.list<Wide<T>>(1);                                                                                 \
    each_of_part(part.count, [&](int i) { average[i] = average[i] + (read(x[i]) - average[i]) * (Wide<T>)weight; });       \
  }                                                                                                                           \
  extern "C" __global__ void __launch_bounds__(256) squares_##S(LISTS, double* sums) {                                        \
    Part part = PART;                                                                                                         \
    const T* x = part.list<T>(0);                                                                                             \
    double sum = 0;                                                                                                           \
    each_of_part(part.count, [&](int i) { sum += (double)read(x[i]) * (double)read(x[i]); });                              \
    sum = block_reduce(sum, Sum(), 0.0);                                                                                      \
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;                                                                             \
  }
FOR_FLOATS(DEFINE)

// One block: the sum of what the blocks before gave, in an order of its own.
extern "C" __global__ void __launch_bounds__(256) add_up(const double* sums, double* total, int64 n) {
  double sum = 0;
  for (int64 i = threadIdx.x; i < n; i += blockDim.x) sum += sums[i];
  sum = block_reduce(sum, Sum(), 0.0);
  if (threadIdx.x == 0) *total = sum;
}
