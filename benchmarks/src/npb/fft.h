/*
 * Fourier transforms of many lines of complex numbers whose length is a power of two.
 */
#ifndef NPB_FFT_H
#define NPB_FFT_H

#include <stddef.h>

struct number {
    double re;
    double im;
};

struct fft {
    int length;
    double *cosines; /* of 2 pi k / length */
    double *sines;
    double *work[4]; /* two blocks of lines, real and imaginary parts apart */
};

void fft_make(struct fft *fft, int length);
void fft_free(struct fft *fft);

/* Transforms lines in place: number k of line i is data[k * step + i * stride].  sign -1: forward, +1: back, without
   the division by the length. */
void fft_lines(struct fft *fft, int sign, struct number *data, size_t step, int lines, size_t stride);

#endif
