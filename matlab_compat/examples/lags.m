% How far one signal lags behind another, found by cross-correlation in convx.
signal_here = mod((1:200) * 7919, 101) / 101 - 0.5;
late = [zeros(1, 13), signal_here(1:187)];
[r, lags] = convx.xcorr(late, signal_here, 40, 'coeff');
[~, at] = max(r);
fprintf('the lag is %d samples\n', lags(at));
