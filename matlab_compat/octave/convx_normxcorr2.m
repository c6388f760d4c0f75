function varargout = convx_normxcorr2(varargin)
%CONVX_NORMXCORR2  Normalized correlation of an image with a template.
%   C = convx_normxcorr2(template, A)
  [varargout{1:max(nargout, 1)}] = convx_call('normxcorr2', varargin{:});
end
