"""Learn: a training split and a validation split in, a calibrated classifier out.

    plan            every choice with its value and its reason
    schedule        the learning rate of each step
    fused_layers    the same network in fewer passes over memory
    step            one step: loss, optimizer, and what they change
    state           how far training is, beside the weights
    checkpoints     both on disk, whole or not believed
    trainer         the loop over epochs, and what is done about faults
    calibrate       what validation decides afterwards: temperature, threshold, sets, OOD detector
    train           all of these, in order

The signature of ``train.train`` is the proof that nothing here can see the test split.
"""
