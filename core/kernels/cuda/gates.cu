// A gate's activation times what it opens and closes, and back: 6 bytes an element in half precision, and 10, where an activation
// and a product by themselves would move 10 and 18. Rows may lie apart: gate and x may be the halves of one array.
#include "after.cuh"
#include "held.cuh"

// Value and slope of activation KIND.
template <int KIND, class W> __device__ __forceinline__ void curve(W v, W& value, W& slope) {
  if (KIND == SILU) {
    W s = 1 / (1 + exponential(-v));
    value = v * s;
    slope = s * (1 + v * (1 - s));
  } else if (KIND == GELU) {
    W below = (W)0.5 * (1 + error_function(v * (W)0.70710678118654752440));
    value = v * below;
    slope = below + v * exponential(v * v * (W)-0.5) * (W)0.39894228040143267794;
  } else {
    const W a = (W)0.79788456080286535588, b = (W)0.044715;
    W t = hyperbolic_tangent(a * (v + b * v * v * v));
    value = (W)0.5 * v * (1 + t);
    slope = (W)0.5 * (1 + t) + (W)0.5 * v * (1 - t * t) * a * (1 + 3 * b * v * v);
  }
}

// Rows of n numbers, each so many after the last.
template <class T> struct Apart {
  const T* p;
  int64 step;
};

template <class T, int K, int KIND> __device__ void gated(Apart<T> gate, Apart<T> x, T* y, int64 rows, int64 n) {
  typedef Wide<T> W;
  int64 i = ((int64)blockIdx.x * blockDim.x + threadIdx.x) * K;
  if (i >= rows * n) return;
  int64 row = rows == 1 ? 0 : i / n, at = i - row * n;
  Some<W, K> g = read_some<K>(gate.p + row * gate.step + at), v = read_some<K>(x.p + row * x.step + at);
#pragma unroll
  for (int k = 0; k < K; k++) {
    W value, slope;
    curve<KIND>(g.at[k], value, slope);
    v.at[k] *= value;
  }
  write_some(y + i, v);
}

template <class T, int K, int KIND>
__device__ void gated_backward(Apart<T> grad, Apart<T> gate, Apart<T> x, T* ggate, T* gx, int64 rows, int64 n) {
  typedef Wide<T> W;
  int64 i = ((int64)blockIdx.x * blockDim.x + threadIdx.x) * K;
  if (i >= rows * n) return;
  int64 row = rows == 1 ? 0 : i / n, at = i - row * n;
  Some<W, K> d = read_some<K>(grad.p + row * grad.step + at), g = read_some<K>(gate.p + row * gate.step + at),
             v = read_some<K>(x.p + row * x.step + at);
#pragma unroll
  for (int k = 0; k < K; k++) {
    W value, slope;
    curve<KIND>(g.at[k], value, slope);
    g.at[k] = d.at[k] * v.at[k] * slope;
    v.at[k] = d.at[k] * value;
  }
  write_some(ggate + i, g);
  write_some(gx + i, v);
}

#define OF_KIND(kind, KIND, width, K, S, T)                                                                                 \
  extern "C" __global__ void gated_##kind##_##width##_##S(const T* gate, int64 gate_step, const T* x, int64 x_step, T* y,   \
                                                          int64 rows, int64 n) {                                            \
    gated<T, K, KIND>({gate, gate_step}, {x, x_step}, y, rows, n);                                                          \
  }                                                                                                                         \
  extern "C" __global__ void gated_backward_##kind##_##width##_##S(const T* grad, int64 grad_step, const T* gate,           \
                                                                   int64 gate_step, const T* x, int64 x_step, T* ggate,     \
                                                                   T* gx, int64 rows, int64 n) {                            \
    gated_backward<T, K, KIND>({grad, grad_step}, {gate, gate_step}, {x, x_step}, ggate, gx, rows, n);                      \
  }
#define OF_WIDTH(width, K, S, T)               \
  OF_KIND(silu, SILU, width, K, S, T)          \
  OF_KIND(gelu, GELU, width, K, S, T)          \
  OF_KIND(gelu_tanh, GELU_TANH, width, K, S, T)
#define DEFINE(S, T)                           \
  OF_WIDTH(packs, Pack<T>::COUNT, S, T)        \
  OF_WIDTH(singles, 1, S, T)
FOR_FLOATS(DEFINE)
