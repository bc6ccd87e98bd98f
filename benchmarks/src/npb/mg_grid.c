/* See mg_grid.h. */
#include "mg_grid.h"

#define CHARGES 10 /* of each sign */
#define TAG_UP 100
#define TAG_DOWN 200

int largest_count(int top)
{
    return 1 << 3 * (top - npb_log2(LEAST));
}

void divide_cube(struct problem *problem, int top)
{
    int most = 1;

    problem->top = top;
    problem->count[X] = problem->count[Y] = problem->count[Z] = 1;
    for (int axis = Z, done = 1; done < problem->run.ranks; done *= 2, axis = axis == X ? Z : axis - 1)
        problem->count[axis] *= 2;
    problem->place[X] = problem->run.rank % problem->count[X];
    problem->place[Y] = problem->run.rank / problem->count[X] % problem->count[Y];
    problem->place[Z] = problem->run.rank / problem->count[X] / problem->count[Y];
    for (int axis = X; axis < AXES; axis++)
        most = problem->count[axis] > most ? problem->count[axis] : most;
    for (int k = 1; k <= top; k++) {
        struct level *level = &problem->levels[k];
        level->spread = (1 << k) / most >= LEAST;
        for (int axis = X; axis < AXES; axis++)
            level->length[axis] = (1 << k) / (level->spread ? problem->count[axis] : 1);
        level->row = (size_t)level->length[X] + 2;
        level->plane = level->row * ((size_t)level->length[Y] + 2);
        level->cells = level->plane * ((size_t)level->length[Z] + 2);
        level->u = npb_allocate(level->cells, sizeof(double));
        level->r = npb_allocate(level->cells, sizeof(double));
    }
    const struct level *cube = &problem->levels[top];
    size_t most_sent = cube->plane; /* a layer of any axis, or a level that each process holds */
    size_t side = ((size_t)cube->length[Y] + 2) * ((size_t)cube->length[Z] + 2);
    size_t deep = ((size_t)cube->length[X] + 2) * ((size_t)cube->length[Z] + 2);
    size_t whole = (size_t)(LEAST * most) * (size_t)(LEAST * most) * (size_t)(LEAST * most);
    most_sent = side > most_sent ? side : most_sent;
    most_sent = deep > most_sent ? deep : most_sent;
    most_sent = whole > most_sent ? whole : most_sent;
    problem->v = npb_allocate(cube->cells, sizeof(double));
    problem->send = npb_allocate(most_sent, sizeof(double));
    problem->receive = npb_allocate(most_sent, sizeof(double));
    problem->faces = npb_allocate(cube->row, sizeof(double));
    problem->edges = npb_allocate(cube->row, sizeof(double));
}

/* ---- halos ---- */

static int rank_at(const struct problem *problem, int x, int y, int z)
{
    return (z * problem->count[Y] + y) * problem->count[X] + x;
}

static int neighbour(const struct problem *problem, enum axis axis, int distance)
{
    int place[AXES] = {problem->place[X], problem->place[Y], problem->place[Z]};
    place[axis] = (place[axis] + distance + problem->count[axis]) % problem->count[axis];
    return rank_at(problem, place[X], place[Y], place[Z]);
}

/* One layer of cells across an axis, into a buffer or out of one; returns how many.  Axes that were done before are
   taken with their halo. */
static int copy_layer(const struct level *level, double *data, enum axis axis, int index, double *buffer, bool out)
{
    int first[AXES];
    int end[AXES];
    int count = 0;

    for (int other = X; other < AXES; other++) {
        first[other] = other < (int)axis ? 0 : 1;
        end[other] = other < (int)axis ? level->length[other] + 2 : level->length[other] + 1;
    }
    first[axis] = index;
    end[axis] = index + 1;
    for (int z = first[Z]; z < end[Z]; z++) {
        for (int y = first[Y]; y < end[Y]; y++) {
            double *row = data + at(level, z, y);
            for (int x = first[X]; x < end[X]; x++, count++) {
                if (out)
                    buffer[count] = row[x];
                else
                    row[x] = buffer[count];
            }
        }
    }
    return count;
}

void fill_halo(struct problem *problem, const struct level *level, double *data)
{
    for (int axis = X; axis < AXES; axis++) {
        int length = level->length[axis];
        for (int up = 0; up < 2; up++) {
            int count = copy_layer(level, data, axis, up ? length : 1, problem->send, true);
            double *filled = problem->send;
            if (level->spread && problem->count[axis] > 1) {
                filled = problem->receive;
                npb_exchange(problem->send, count, neighbour(problem, axis, up ? 1 : -1), filled, count,
                             neighbour(problem, axis, up ? -1 : 1), (up ? TAG_UP : TAG_DOWN) + axis);
            }
            copy_layer(level, data, axis, up ? 0 : length + 1, filled, false);
        }
    }
}

/* ---- between a spread level and one that each process holds ---- */

/* Of a process at a place: where its part of a level that each process holds begins (its halo's first cell). */
static size_t part_start(const struct level *whole, const struct level *fine, const int *place)
{
    return at(whole, place[Z] * fine->length[Z] / 2, place[Y] * fine->length[Y] / 2) +
           (size_t)(place[X] * fine->length[X] / 2);
}

size_t own_part(const struct problem *problem, const struct level *coarse, const struct level *fine)
{
    return fine->spread && !coarse->spread ? part_start(coarse, fine, problem->place) : 0;
}

void gather(struct problem *problem, const struct level *coarse, const struct level *fine)
{
    int length[AXES];
    int place[AXES];
    int count = 0;

    for (int axis = X; axis < AXES; axis++)
        length[axis] = fine->length[axis] / 2;
    int cells = length[X] * length[Y] * length[Z];
    const double *part = coarse->r + own_part(problem, coarse, fine);
    for (int z = 1; z <= length[Z]; z++)
        for (int y = 1; y <= length[Y]; y++)
            for (int x = 1; x <= length[X]; x++)
                problem->send[count++] = part[at(coarse, z, y) + (size_t)x];
    MPI_Allgather(problem->send, cells, MPI_DOUBLE, problem->receive, cells, MPI_DOUBLE, MPI_COMM_WORLD);
    for (int rank = 0; rank < problem->run.ranks; rank++) {
        place[X] = rank % problem->count[X];
        place[Y] = rank / problem->count[X] % problem->count[Y];
        place[Z] = rank / problem->count[X] / problem->count[Y];
        const double *received = problem->receive + (size_t)rank * (size_t)cells;
        double *to = coarse->r + part_start(coarse, fine, place);
        for (int z = 1; z <= length[Z]; z++)
            for (int y = 1; y <= length[Y]; y++, received += length[X])
                memcpy(to + at(coarse, z, y) + 1, received, (size_t)length[X] * sizeof *to);
    }
}

/* ---- the charges ---- */

/* Puts a cell among the CHARGES with the largest values, which are in descending order. */
static void keep_largest(double kept[CHARGES][2], double value, double cell)
{
    int i = CHARGES - 1;

    if (value <= kept[i][0])
        return;
    for (; i > 0 && value > kept[i - 1][0]; i--)
        memcpy(kept[i], kept[i - 1], sizeof kept[i]);
    kept[i][0] = value;
    kept[i][1] = cell;
}

void place_charges(struct problem *problem)
{
    const struct level *top = &problem->levels[problem->top];
    double kept[2][CHARGES][2]; /* value and number of cell, for +1 and, negative, for -1 */
    double all[2][CHARGES][2];
    const size_t bytes = sizeof kept;
    int numbers = (int)(bytes / sizeof(double));
    int start[AXES];

    for (int i = 0; i < 2 * CHARGES; i++)
        kept[i / CHARGES][i % CHARGES][0] = all[i / CHARGES][i % CHARGES][0] = -2.0;
    for (int axis = X; axis < AXES; axis++)
        start[axis] = problem->place[axis] * top->length[axis] - 1;
    for (int z = 1; z <= top->length[Z]; z++) {
        for (int y = 1; y <= top->length[Y]; y++) {
            int64_t cell = (((int64_t)(start[Z] + z) << problem->top) + start[Y] + y) << problem->top;
            cell += start[X] + 1;
            uint64_t state = npb_skip(NPB_SEED, (uint64_t)cell);
            for (int x = 1; x <= top->length[X]; x++, cell++) {
                double value = npb_draw(&state);
                keep_largest(kept[0], value, (double)cell);
                keep_largest(kept[1], -value, (double)cell);
            }
        }
    }
    double *everyone = npb_allocate((size_t)problem->run.ranks, bytes);
    MPI_Allgather(kept, numbers, MPI_DOUBLE, everyone, numbers, MPI_DOUBLE, MPI_COMM_WORLD);
    for (int i = 0; i < problem->run.ranks * 2 * CHARGES; i++)
        keep_largest(all[i / CHARGES % 2], everyone[2 * i], everyone[2 * i + 1]);
    free(everyone);

    memset(problem->v, 0, top->cells * sizeof *problem->v);
    for (int i = 0; i < 2 * CHARGES; i++) {
        int64_t cell = (int64_t)all[i / CHARGES][i % CHARGES][1];
        int64_t mask = (INT64_C(1) << problem->top) - 1;
        int x = (int)(cell & mask) - start[X];
        int y = (int)(cell >> problem->top & mask) - start[Y];
        int z = (int)(cell >> 2 * problem->top) - start[Z];
        if (x >= 1 && x <= top->length[X] && y >= 1 && y <= top->length[Y] && z >= 1 && z <= top->length[Z])
            problem->v[at(top, z, y) + (size_t)x] = i < CHARGES ? 1.0 : -1.0;
    }
    fill_halo(problem, top, problem->v);
}
