// Power spectra of windowed pieces: a block a piece. The piece and the roots of unity lie in shared memory, a thread sums a bin in
// double, so the result does not depend on how a transform is cut into factors. Floor: the signal and the spectrum once through
// memory; the sums, n * (n / 2 + 1) products of two doubles, stay in the shade of it up to a few hundred elements.
#include "common.cuh"

// Grid: pieces of all signals. Shared memory: 3 n doubles.
template <class T>
__device__ void power_spectrum(const T* x, const double* window, T* y, int length, int pieces, int n, int hop) {
  DYN_SHARED(double, piece);
  double *cosine = piece + n, *sine = piece + 2 * n;
  int64 signal = blockIdx.x / pieces;
  int which = blockIdx.x % pieces, bins = n / 2 + 1;
  x += signal * length + (int64)which * hop;
  for (int i = threadIdx.x; i < n; i += blockDim.x) {
    piece[i] = (double)read(x[i]) * window[i];
    double angle = 6.283185307179586477 * i / n;
    cosine[i] = cos(angle), sine[i] = sin(angle);
  }
  __syncthreads();
  for (int k = threadIdx.x; k < bins; k += blockDim.x) {
    double re = 0, im = 0;
    for (int i = 0, turn = 0; i < n; i++) {
      re += piece[i] * cosine[turn];
      im += piece[i] * sine[turn];
      turn += k;
      if (turn >= n) turn -= n;
    }
    y[(signal * bins + k) * pieces + which] = write<T>((Wide<T>)(re * re + im * im));
  }
}

#define DEFINE(S, T)                                                                                                         \
  extern "C" __global__ void __launch_bounds__(256)                                                                          \
      power_spectrum_##S(const T* x, const double* window, T* y, int length, int pieces, int n, int hop) {                   \
    power_spectrum<T>(x, window, y, length, pieces, n, hop);                                                                 \
  }
FOR_FLOATS(DEFINE)
