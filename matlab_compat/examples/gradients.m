% A layer and its derivatives, as in MatConvNet, without MatConvNet: convx.vl_nnconv computes both.
x = single(rand(16, 16, 3, 2));
w = single(rand(3, 3, 3, 8) - 0.5);
b = zeros(1, 8, 'single');
y = convx.vl_nnconv(x, w, b, 'Pad', 1, 'Stride', 2);
[dx, dw, db] = convx.vl_nnconv(x, w, b, y, 'Pad', 1, 'Stride', 2);
% y is linear in x and in w: the three sums are equal up to rounding.
fprintf('y %s; <y,y> %.6g, <x,dx> %.6g, <w,dw> %.6g\n', mat2str(size(y)), sum(y(:) .^ 2), sum(x(:) .* dx(:)), ...
        sum(w(:) .* dw(:)));
