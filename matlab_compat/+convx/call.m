function varargout = call(name, varargin)
%CALL  [out1, ...] = convx.call('conv2', A, B, 'same') computes in Python; see convx_call, which Octave uses as well.
  if ~exist('convx_call', 'file')
    addpath(fullfile(fileparts(fileparts(mfilename('fullpath'))), 'octave'));
  end
  [varargout{1:nargout}] = convx_call(name, varargin{:});
end
