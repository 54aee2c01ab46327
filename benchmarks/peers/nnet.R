# Fit a net by nnet from given weights, time and again. Print the best seconds, the mean seconds of the
# processor, and the weights.
#
# The argument is a folder with X.csv, y.csv, start.csv and settings.csv: the number of hidden units,
# the sum of squares at which to end, and the seconds to spend on all fits.
suppressPackageStartupMessages(library(nnet))
folder <- commandArgs(TRUE)[1]
numbers <- function(name) {
  as.matrix(read.csv(file.path(folder, paste0(name, ".csv")), header = FALSE, colClasses = "numeric"))
}
X <- numbers("X")
y <- numbers("y")
start <- numbers("start")[, 1]
settings <- numbers("settings")[, 1]
best <- Inf
fits <- 0
processor <- sum(proc.time()[1:2])
ends <- as.numeric(Sys.time()) + settings[3]
repeat {
  began <- as.numeric(Sys.time())
  net <- nnet(X, y, size = settings[1], linout = TRUE, Wts = start, maxit = 10000,
              abstol = settings[2], reltol = 1e-12, MaxNWts = 1e6, trace = FALSE)
  now <- as.numeric(Sys.time())
  best <- min(best, now - began)
  fits <- fits + 1
  if (now > ends) break
}
processor <- (sum(proc.time()[1:2]) - processor) / fits
cat(format(c(best, processor, net$wts), digits = 17), sep = "\n")
