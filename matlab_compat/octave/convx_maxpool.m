function varargout = convx_maxpool(varargin)
%CONVX_MAXPOOL  Largest values of windows.
%   [Y, indx, inputSize] = convx_maxpool(X, poolsize, name, value...)
  [varargout{1:max(nargout, 1)}] = convx_call('maxpool', varargin{:});
end
