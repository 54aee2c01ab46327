
#include <eml_net.h>
static const float mynet_layer_0_biases[8] = { -0.220057f, -0.109881f, 0.299430f, -0.566962f, 0.196947f, 0.203123f, -0.362786f, -0.533044f };
static const float mynet_layer_0_weights[40] = { 0.036832f, 0.263259f, 0.170137f, 0.030324f, -0.074103f, 0.168515f, -0.114410f, 0.503219f, 0.600446f, -0.186537f, 0.426338f, 0.013841f, 0.122435f, 0.547899f, -0.613068f, -0.532166f, -0.623513f, 0.481260f, 0.347889f, 0.533185f, 0.620475f, 0.435814f, -0.023682f, 0.409394f, -0.489185f, 0.219249f, -0.515146f, 0.634903f, 0.000089f, -0.086342f, -0.290368f, 0.401676f, -0.029975f, 0.063889f, -0.622809f, 0.128880f, 0.181596f, 0.131928f, 0.574246f, 0.218067f };
static const float mynet_layer_1_biases[1] = { 0.218031f };
static const float mynet_layer_1_weights[8] = { -0.272162f, -0.195639f, 0.144966f, -0.131002f, 0.768494f, -0.620753f, -0.447789f, -0.524865f };
static float mynet_buf1[8];
static float mynet_buf2[8];
static const EmlNetLayer mynet_layers[2] = { 
{ 8, 5, mynet_layer_0_weights, mynet_layer_0_biases, EmlNetActivationRelu }, 
{ 1, 8, mynet_layer_1_weights, mynet_layer_1_biases, EmlNetActivationLogistic } };
static EmlNet mynet = { 2, mynet_layers, mynet_buf1, mynet_buf2, 8 };

    int32_t
    mynet_predict(const float *features, int32_t n_features)
    {
        return eml_net_predict(&mynet, features, n_features);
    }
    

    int32_t
    mynet_regress(const float *features, int32_t n_features, float *out, int32_t out_length)
    {
        return eml_net_regress(&mynet, features, n_features, out, out_length);
    }
    

    float
    mynet_regress1(const float *features, int32_t n_features)
    {
        return eml_net_regress1(&mynet, features, n_features);
    }
    