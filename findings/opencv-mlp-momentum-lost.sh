#!/usr/bin/env bash
# OpenCV 4.14.0: ANN_MLP.setTrainMethod(BACKPROP) sets the momentum to 0, whatever was set before.
#
# One would guess: setting the method of training leaves the settings of that method, whose default
# the documentation gives as 0.1, and one that was set by setBackpropMomentumScale stays.
# It does: the method has two more arguments, both 0 by default, which are written over both scales. A
# 0 for the weights becomes the documented default 0.1, a 0 for the momentum stays 0. So the usual order,
# settings first and the method last, trains with another step and without momentum. For RPROP the first
# step becomes 1 and the smallest 0 in the same way.
set -euo pipefail
"$(dirname "$0")/with-packages" opencv-python-headless==4.14.0.94 numpy==2.2.6 <<'PY'
import cv2
import numpy as np

net = cv2.ml.ANN_MLP_create()
net.setLayerSizes(np.array([2, 3, 1]))
net.setBackpropMomentumScale(0.9)
net.setBackpropWeightScale(0.05)
net.setTrainMethod(cv2.ml.ANN_MLP_BACKPROP)
print("momentum", net.getBackpropMomentumScale(), "weight scale", net.getBackpropWeightScale())
assert net.getBackpropMomentumScale() == 0.0
assert net.getBackpropWeightScale() == 0.1
net.setBackpropMomentumScale(0.9)  # after the method, it stays
assert net.getBackpropMomentumScale() == 0.9
net.setRpropDW0(0.1)
net.setRpropDWMin(1e-6)
net.setTrainMethod(cv2.ml.ANN_MLP_RPROP)
print("first step", net.getRpropDW0(), "smallest step", net.getRpropDWMin())
assert (net.getRpropDW0(), net.getRpropDWMin()) == (1.0, 0.0)
PY
