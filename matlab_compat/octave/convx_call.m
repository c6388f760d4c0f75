function varargout = convx_call(name, varargin)
%CONVX_CALL  Compute a function of convx.matlab in Python: [out1, ...] = convx_call('conv2', A, B, 'same').
%   MATLAB reaches Python inside its own process through py. (set the interpreter with pyenv). Octave has no py.; it
%   keeps one Python process open that runs "python -m convx._compat.bridge" and ends with Octave. The environment
%   variable CONVX_PYTHON names the interpreter, default python3. The bytes are the same on both ways.
%   An error of the Python function is raised here with its identifier and text.
  request = [typecast(uint32([max(nargout, 1), 1 + numel(varargin)]), 'uint8'), packed(name)];
  for k = 1:numel(varargin)
    request = [request, packed(varargin{k})]; %#ok<AGROW> few arguments
  end
  if exist('OCTAVE_VERSION', 'builtin')
    reply = through_pipe(request);
  else
    bridge = py.importlib.import_module('convx._compat.bridge');
    reply = uint8(bridge.respond(py.bytes(request)));
  end
  values = unpacked(reply(2:end));
  if reply(1) ~= 0
    [identifier, message] = values{:};
    error(identifier, '%s', message);
  end
  varargout = values;
end

function bytes = packed(value)
%PACKED  One value: class, complex or not, number of dimensions (uint8 each), dimensions (uint64), the elements.
  if isa(value, 'string') && isscalar(value)
    value = char(value);
  end
  class_number = find(strcmp(class(value), classes()));
  if isempty(class_number)
    error('convx:bridge:class', 'convx takes numbers, logical values and text, not %s.', class(value));
  elseif issparse(value)
    [rows, columns, elements] = find(value);
    bytes = [head(numel(classes()) + 1, 0, size(value)), packed(rows(:)), packed(columns(:)), packed(elements(:))];
    return
  end
  elements = value(:).';
  if islogical(value) || ischar(value)
    elements = uint8(elements);
  elseif ~isreal(value)
    elements = [real(elements), imag(elements)];
  end
  bytes = head(class_number, ~isreal(value), size(value));
  if ~isempty(elements)
    bytes = [bytes, typecast(elements, 'uint8')];
  end
end

function bytes = head(class_number, is_complex, dimensions)
  bytes = [uint8([class_number, is_complex, numel(dimensions)]), typecast(uint64(dimensions), 'uint8')];
end

function names = classes()
  names = {'double', 'single', 'int8', 'uint8', 'int16', 'uint16', 'int32', 'uint32', 'int64', 'uint64', ...
           'logical', 'char'};
end

function values = unpacked(bytes)
  bytes = bytes(:).';
  values = {};
  at = 0;
  while at < numel(bytes)
    [values{end + 1}, at] = one(bytes, at); %#ok<AGROW>
  end
end

function [value, at] = one(bytes, at)
%ONE  The value whose bytes begin after position at, and the position of its last byte.
  names = classes();
  class_number = double(bytes(at + 1));
  is_complex = bytes(at + 2) ~= 0;
  rank = double(bytes(at + 3));
  dimensions = double(typecast(bytes(at + 4:at + 3 + 8 * rank), 'uint64'));
  at = at + 3 + 8 * rank;
  if class_number > numel(names)
    [rows, at] = one(bytes, at);
    [columns, at] = one(bytes, at);
    [elements, at] = one(bytes, at);
    value = sparse(rows, columns, elements, dimensions(1), dimensions(2));
    return
  end
  stored = names{class_number};
  if any(strcmp(stored, {'logical', 'char'}))
    stored = 'uint8';
  end
  width = struct('double', 8, 'single', 4, 'int8', 1, 'uint8', 1, 'int16', 2, 'uint16', 2, 'int32', 4, ...
                 'uint32', 4, 'int64', 8, 'uint64', 8);
  count = prod(dimensions);
  last = at + count * width.(stored) * (1 + is_complex);
  elements = zeros(1, 0, stored);
  if count > 0
    elements = typecast(bytes(at + 1:last), stored);
  end
  at = last;
  if is_complex
    elements = complex(elements(1:count), elements(count + 1:end));
  end
  if strcmp(names{class_number}, 'logical')
    elements = elements ~= 0;
  elseif strcmp(names{class_number}, 'char')
    elements = char(elements);
  end
  value = reshape(elements, dimensions);
end

function reply = through_pipe(request)
%THROUGH_PIPE  Octave: each message goes through a pipe after its length (uint64).
  persistent link
  if isempty(link)
    mlock(); % "clear all" must not lose the process
    link = struct('pid', 0);
  end
  if link.pid && link.busy % an interrupt left a reply in the pipe
    link = dropped(link);
  end
  if ~link.pid
    python = getenv('CONVX_PYTHON');
    if isempty(python)
      python = 'python3';
    end
    [to, from, pid] = popen2(python, {'-m', 'convx._compat.bridge'}, true);
    link = struct('pid', pid, 'to', to, 'from', from, 'busy', false, 'python', python);
  end
  link.busy = true;
  fwrite(link.to, typecast(uint64(numel(request)), 'uint8'), 'uint8');
  fwrite(link.to, request, 'uint8');
  fflush(link.to);
  reply = zeros(0, 1, 'uint8');
  length_of_reply = fread(link.from, 8, 'uint8=>uint8');
  if numel(length_of_reply) == 8
    expected = double(typecast(length_of_reply(:).', 'uint64'));
    reply = fread(link.from, expected, 'uint8=>uint8');
  end
  if numel(length_of_reply) < 8 || numel(reply) < expected
    python = link.python;
    link = dropped(link);
    error('convx:bridge:ended', ['The Python process (%s) has ended without an answer; the next call starts a new ' ...
          'one. If it never answers, see whether "%s -m convx info" works, and set the environment variable ' ...
          'CONVX_PYTHON to an interpreter that has convx.'], python, python);
  end
  link.busy = false;
end

function link = dropped(link)
  fclose(link.to);
  fclose(link.from);
  kill(link.pid, 9);
  waitpid(link.pid);
  link = struct('pid', 0);
end
