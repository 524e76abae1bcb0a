// One step of LSTM and GRU: a thread a number of the state, every gate read and written once.
// Floor, in float: LSTM 5 numbers in and 7 out for each of the state's, back 8 in and 5 out.
#include "after.cuh"

template <class W> __device__ __forceinline__ W sigmoid(W v) { return 1 / (1 + exponential(-v)); }

// i: the number of the state; row, column: where it is in (N, H)
#define EACH(count, width)                                     \
  int64 i = (int64)blockIdx.x * blockDim.x + threadIdx.x;      \
  if (i >= count) return;                                      \
  int64 row = i / width;                                       \
  int column = i % width

template <class T> __device__ void lstm(const T* gates, const T* c, T* h, T* next, T* acts, int64 count, int width) {
  EACH(count, width);
  gates += row * 4 * width + column;
  acts += row * 5 * width + column;
  T in = sigmoid(gates[0]), forget = sigmoid(gates[width]), cell = hyperbolic_tangent(gates[2 * width]), out = sigmoid(gates[3 * width]);
  T value = forget * c[i] + in * cell, top = hyperbolic_tangent(value);
  acts[0] = in, acts[width] = forget, acts[2 * width] = cell, acts[3 * width] = out, acts[4 * width] = top;
  next[i] = value;
  h[i] = out * top;
}

template <class T>
__device__ void lstm_backward(const T* gh, const T* gc, const T* c, const T* acts, T* gates, T* before, int64 count, int width) {
  EACH(count, width);
  gates += row * 4 * width + column;
  acts += row * 5 * width + column;
  T in = acts[0], forget = acts[width], cell = acts[2 * width], out = acts[3 * width], top = acts[4 * width];
  T g = gc[i] + gh[i] * out * (1 - top * top);
  gates[0] = g * cell * in * (1 - in);
  gates[width] = g * c[i] * forget * (1 - forget);
  gates[2 * width] = g * in * (1 - cell * cell);
  gates[3 * width] = gh[i] * top * out * (1 - out);
  before[i] = g * forget;
}

template <class T>
__device__ void gru(const T* from_input, const T* from_state, const T* h, T* next, T* acts, int64 count, int width) {
  EACH(count, width);
  from_input += row * 3 * width + column;
  from_state += row * 3 * width + column;
  acts += row * 3 * width + column;
  T reset = sigmoid(from_input[0] + from_state[0]), update = sigmoid(from_input[width] + from_state[width]);
  T candidate = hyperbolic_tangent(from_input[2 * width] + reset * from_state[2 * width]);
  acts[0] = reset, acts[width] = update, acts[2 * width] = candidate;
  next[i] = candidate + update * (h[i] - candidate);
}

template <class T>
__device__ void gru_backward(const T* grad, const T* from_state, const T* h, const T* acts, T* to_input, T* to_state, T* before,
                             int64 count, int width) {
  EACH(count, width);
  from_state += row * 3 * width + column;
  to_input += row * 3 * width + column;
  to_state += row * 3 * width + column;
  acts += row * 3 * width + column;
  T r = acts[0], z = acts[width], n = acts[2 * width], g = grad[i];
  T candidate = g * (1 - z) * (1 - n * n), reset = candidate * from_state[2 * width] * r * (1 - r), update = g * (h[i] - n) * z * (1 - z);
  to_input[0] = to_state[0] = reset;
  to_input[width] = to_state[width] = update;
  to_input[2 * width] = candidate;
  to_state[2 * width] = candidate * r;
  before[i] = g * z;
}

#define BOUNDS __launch_bounds__(256)
#define DEFINE(S, T)                                                                                                            \
  extern "C" __global__ void BOUNDS lstm_##S(const T* gates, const T* c, T* h, T* next, T* acts, int64 count, int width) {      \
    lstm<T>(gates, c, h, next, acts, count, width);                                                                             \
  }                                                                                                                             \
  extern "C" __global__ void BOUNDS lstm_backward_##S(const T* gh, const T* gc, const T* c, const T* acts, T* gates, T* before, \
                                                      int64 count, int width) {                                                 \
    lstm_backward<T>(gh, gc, c, acts, gates, before, count, width);                                                             \
  }                                                                                                                             \
  extern "C" __global__ void BOUNDS gru_##S(const T* from_input, const T* from_state, const T* h, T* next, T* acts,             \
                                            int64 count, int width) {                                                           \
    gru<T>(from_input, from_state, h, next, acts, count, width);                                                                \
  }                                                                                                                             \
  extern "C" __global__ void BOUNDS gru_backward_##S(const T* grad, const T* from_state, const T* h, const T* acts, T* to_input, \
                                                     T* to_state, T* before, int64 count, int width) {                          \
    gru_backward<T>(grad, from_state, h, acts, to_input, to_state, before, count, width);                                       \
  }
#ifndef ONLY_f64
DEFINE(f32, float)
#endif
#ifndef ONLY_f32
DEFINE(f64, double)
#endif
