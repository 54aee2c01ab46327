/* Train a net with FANN in batches. KIND is float or double, like the linked library. */

#define TEXT(x) #x
#define HEADER(kind) TEXT(kind##fann.h)
#define HEADER_OF(kind) HEADER(kind)
#include HEADER_OF(KIND)

#include <string.h>

void train(unsigned n_layers, const unsigned *sizes, const fann_type *X, const fann_type *y,
           fann_type *params, double *mean_squares, unsigned batch_size, unsigned n_batches,
           long epochs, float rate)
{
    struct fann *net = fann_create_standard_array(n_layers, sizes);
    size_t n_bytes = fann_get_total_connections(net) * sizeof(fann_type);
    unsigned n_in = sizes[0], n_out = sizes[n_layers - 1];

    memcpy(net->weights, params, n_bytes);
    fann_set_training_algorithm(net, FANN_TRAIN_BATCH);
    fann_set_train_error_function(net, FANN_ERRORFUNC_LINEAR);
    fann_set_learning_rate(net, rate);
    fann_set_activation_function_hidden(net, FANN_SIGMOID);
    fann_set_activation_function_output(net, FANN_SIGMOID);
    fann_set_activation_steepness_hidden(net, 0.5); /* FANN's sigmoid is 1 / (1 + exp(-2 s z)) */
    fann_set_activation_steepness_output(net, 0.5);

    struct fann_train_data *batches[n_batches];
    for (unsigned i = 0; i < n_batches; i++) {
        batches[i] = fann_create_train(batch_size, n_in, n_out);
        for (unsigned s = 0; s < batch_size; s++) {
            unsigned row = i * batch_size + s;
            memcpy(batches[i]->input[s], X + row * n_in, n_in * sizeof(fann_type));
            memcpy(batches[i]->output[s], y + row * n_out, n_out * sizeof(fann_type));
        }
    }
    for (long epoch = 0; epoch < epochs; epoch++) {
        double sum = 0;
        for (unsigned i = 0; i < n_batches; i++)
            sum += fann_train_epoch(net, batches[i]);
        mean_squares[epoch] = sum / n_batches;
    }
    memcpy(params, net->weights, n_bytes);
    for (unsigned i = 0; i < n_batches; i++)
        fann_destroy_train(batches[i]);
    fann_destroy(net);
}
