// What a product does to its result before anybody else sees it: activation(y * scale + shift + residual) of a sum and its bias.
#pragma once
#include "functions.cuh"

enum { NONE, RELU, RELU6, GELU, GELU_TANH, SILU };  // the order of reference/after.py's ACTIVATIONS

template <class W> __device__ __forceinline__ W activated(W v, int activation) {
  switch (activation) {
    case RELU: return greater(v, (W)0);
    case RELU6: return v > 6 ? (W)6 : greater(v, (W)0);
    case GELU: return v * (W)0.5 * (1 + error_function(v * (W)0.70710678118654752440));
    case GELU_TANH: return v * (W)0.5 * (1 + hyperbolic_tangent((W)0.79788456080286535588 * (v + (W)0.044715 * v * v * v)));
    case SILU: return v * logistic(v);
    default: return v;
  }
}

// Arrays of one number a column (bias, scale, shift), and one of the result's shape (residual); null for what is not there.
// Between its steps a number is rounded to T, as it is where each is a kernel of its own; sum and bias are one step.
template <class T> struct After {
  const T* bias;
  const Wide<T>*scale, *shift;
  const T* residual;
  int activation;
  __device__ __forceinline__ Wide<T> operator()(Wide<T> v, int64 place, int column) const {
    if (bias) v += read(bias[column]);
    if (scale) v = shift ? narrowed(v) * scale[column] + shift[column] : rounded(narrowed(v) * scale[column]);
    if (residual) v = narrowed(v) + read(residual[place]);
    return activation == NONE ? v : activated(narrowed(v), activation);
  }
  static __device__ __forceinline__ Wide<T> narrowed(Wide<T> v) { return read(write<T>(v)); }
};
// the same as a kernel's parameters
#define END(T) const T *bias, const Wide<T> *scale, const Wide<T> *shift, const T *residual, int activation
