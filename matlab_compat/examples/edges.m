% Edges of an image: MATLAB's imfilter and convx give the same image. Run it with the folder matlab_compat on the path;
% in Octave, add matlab_compat/octave and write convx_imfilter for convx.imfilter.
image = uint8(255 * (mod((1:240)' + (1:320), 40) < 20));
kernel = fspecial('sobel');
here = imfilter(image, kernel, 'replicate');
there = convx.imfilter(image, kernel, 'replicate');
fprintf('class %s, size %s, %d of %d pixels differ\n', class(there), mat2str(size(there)), ...
        nnz(here ~= there), numel(here));
