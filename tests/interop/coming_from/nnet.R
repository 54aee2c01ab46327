# Value and weights of nnet (package nnet) before and after one step of its BFGS, which is a step
# against the gradient. The argument is a folder with X.csv, y.csv, start.csv and settings.csv: the
# number of hidden units, the weight decay, and 1 for each of linout, entropy and softmax.
suppressPackageStartupMessages(library(nnet))
folder <- commandArgs(TRUE)[1]
numbers <- function(name) {
  as.matrix(read.csv(file.path(folder, paste0(name, ".csv")), header = FALSE, colClasses = "numeric"))
}
settings <- numbers("settings")[, 1]
fit <- function(maxit) {
  nnet(numbers("X"), numbers("y"), size = settings[1], decay = settings[2],
       linout = settings[3] == 1, entropy = settings[4] == 1, softmax = settings[5] == 1,
       Wts = numbers("start")[, 1], maxit = maxit, trace = FALSE)
}
cat(format(c(fit(0)$value, fit(1)$wts), digits = 17), sep = "\n")
