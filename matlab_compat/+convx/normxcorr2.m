function varargout = normxcorr2(varargin)
%NORMXCORR2  Normalized correlation of an image with a template.
%   C = convx.normxcorr2(template, A)
  [varargout{1:max(nargout, 1)}] = convx.call('normxcorr2', varargin{:});
end
