"""convx.matlab beside MATLAB and Octave: calls by name, the bridge they compute through, the check of saved results.

`calls` calls a function by its name with MATLAB's values. `bridge` does so for the requests of MATLAB and Octave
(`matlab_compat/octave/convx_call.m`). `matfile` reads what `matlab_compat/save_reference.m` saved, `check` compares:
the command `python -m convx matlab-check`.
"""
