function varargout = maxpool(varargin)
%MAXPOOL  Largest values of windows.
%   [Y, indx, inputSize] = convx.maxpool(X, poolsize, name, value...)
  [varargout{1:max(nargout, 1)}] = convx.call('maxpool', varargin{:});
end
