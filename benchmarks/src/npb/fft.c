/*
 * See fft.h.  Stockham's method with steps of four, and one of two where the length asks for it: every step reads
 * one block and writes the other, and the numbers come out in order.  A block holds FFT_LINES lines side by side with
 * real and imaginary parts apart, so that each step is one long loop with constant factors, which compilers turn
 * into vector instructions; and it stays in the processor's cache.
 */
#include "fft.h"

#include "common.h"

#include <math.h>

#define FFT_LINES 16

void fft_make(struct fft *fft, int length)
{
    double angle = 2.0 * acos(-1.0) / length;

    fft->length = length;
    fft->cosines = npb_allocate((size_t)length, sizeof(double));
    fft->sines = npb_allocate((size_t)length, sizeof(double));
    for (int k = 0; k < length; k++) {
        fft->cosines[k] = cos(angle * k);
        fft->sines[k] = sin(angle * k);
    }
    for (int i = 0; i < 4; i++)
        fft->work[i] = npb_allocate((size_t)length * FFT_LINES, sizeof(double));
}

void fft_free(struct fft *fft)
{
    free(fft->cosines);
    free(fft->sines);
    for (int i = 0; i < 4; i++)
        free(fft->work[i]);
}

/* One butterfly of four over count numbers: from inputs a quarter of the block apart to outputs count apart. */
static void cross_four(const struct fft *fft, int sign, int root, double *const *work, size_t from, size_t quarter,
                       size_t to, size_t count)
{
    const double *in_re = work[0] + from;
    const double *in_im = work[1] + from;
    double *restrict out_re = work[2] + to;
    double *restrict out_im = work[3] + to;
    double c1 = fft->cosines[root];
    double s1 = sign * fft->sines[root];
    double c2 = fft->cosines[2 * root];
    double s2 = sign * fft->sines[2 * root];
    double c3 = fft->cosines[3 * root];
    double s3 = sign * fft->sines[3 * root];

    for (size_t i = 0; i < count; i++) {
        double even_re = in_re[i] + in_re[i + 2 * quarter];
        double even_im = in_im[i] + in_im[i + 2 * quarter];
        double less_re = in_re[i] - in_re[i + 2 * quarter];
        double less_im = in_im[i] - in_im[i + 2 * quarter];
        double odd_re = in_re[i + quarter] + in_re[i + 3 * quarter];
        double odd_im = in_im[i + quarter] + in_im[i + 3 * quarter];
        /* The difference of the odd ones, turned by a quarter of a circle: times sign * i. */
        double turned_re = -sign * (in_im[i + quarter] - in_im[i + 3 * quarter]);
        double turned_im = sign * (in_re[i + quarter] - in_re[i + 3 * quarter]);
        double re = less_re + turned_re;
        double im = less_im + turned_im;
        out_re[i] = even_re + odd_re;
        out_im[i] = even_im + odd_im;
        out_re[i + count] = re * c1 - im * s1;
        out_im[i + count] = re * s1 + im * c1;
        re = even_re - odd_re;
        im = even_im - odd_im;
        out_re[i + 2 * count] = re * c2 - im * s2;
        out_im[i + 2 * count] = re * s2 + im * c2;
        re = less_re - turned_re;
        im = less_im - turned_im;
        out_re[i + 3 * count] = re * c3 - im * s3;
        out_im[i + 3 * count] = re * s3 + im * c3;
    }
}

/* The last step of a length that is no power of four: its factors are 1. */
static void cross_two(double *const *work, size_t half)
{
    for (int part = 0; part < 2; part++) {
        const double *in = work[part];
        double *restrict out = work[2 + part];
        for (size_t i = 0; i < half; i++) {
            out[i] = in[i] + in[i + half];
            out[i + half] = in[i] - in[i + half];
        }
    }
}

/* Transforms the block in fft->work[0] and [1]; there it is again at the end. */
static void transform_block(struct fft *fft, int sign)
{
    size_t done = FFT_LINES; /* numbers that belong together: lines times the product of the steps so far */
    int left = fft->length;

    for (; left > 1; left /= 4) {
        if (left == 2) {
            cross_two(fft->work, done);
        } else {
            size_t quarter = done * (size_t)left / 4;
            for (int k = 0; k < left / 4; k++)
                cross_four(fft, sign, k * (fft->length / left), fft->work, (size_t)k * done, quarter,
                           (size_t)k * 4 * done, done);
        }
        for (int part = 0; part < 2; part++) {
            double *block = fft->work[part];
            fft->work[part] = fft->work[2 + part];
            fft->work[2 + part] = block;
        }
        if (left == 2)
            break;
        done *= 4;
    }
}

/* Copies up to FFT_LINES lines into the block or out of it, along whichever way lies closer together in memory. */
static void copy_lines(struct fft *fft, struct number *data, size_t step, size_t lines, size_t stride, int out)
{
    size_t length = (size_t)fft->length;
    int along = step < stride;
    size_t outer = along ? lines : length;
    size_t inner = along ? length : lines;

    for (size_t i = 0; i < outer; i++) {
        struct number *number = data + i * (along ? stride : step);
        double *re = fft->work[0] + i * (along ? 1 : FFT_LINES);
        double *im = fft->work[1] + i * (along ? 1 : FFT_LINES);
        size_t apart = along ? step : stride;
        size_t block = along ? FFT_LINES : 1;
        if (out) {
            for (size_t k = 0; k < inner; k++)
                number[k * apart] = (struct number){re[k * block], im[k * block]};
        } else {
            for (size_t k = 0; k < inner; k++) {
                re[k * block] = number[k * apart].re;
                im[k * block] = number[k * apart].im;
            }
        }
    }
}

void fft_lines(struct fft *fft, int sign, struct number *data, size_t step, int lines, size_t stride)
{
    for (int first = 0; first < lines; first += FFT_LINES) {
        struct number *start = data + (size_t)first * stride;
        size_t count = (size_t)(lines - first < FFT_LINES ? lines - first : FFT_LINES);
        copy_lines(fft, start, step, count, stride, 0);
        transform_block(fft, sign);
        copy_lines(fft, start, step, count, stride, 1);
    }
}
