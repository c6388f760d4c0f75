function count = generate(cases, file, seed)
%GENERATE  Make all calls of a list of cases and save inputs and results: generate('cases.json', 'fixtures/NAME.mat').
%   Runs unchanged in MATLAB and in Octave. The list holds groups: a function "f", for every argument a list of
%   alternatives "args" (every combination is a case), the number of results "out" (1), "only": the one program in
%   which the group is run, and "region": "inside" where results are compared only where the template lies inside.
%   An alternative is "-" (left out), a literal as it is typed, or "KIND SIZE CLASS" for drawn values. KIND is int
%   (whole numbers), count (whole, not negative), real, cint, creal (complex). The values follow from their seed alone.
  if nargin < 3
    seed = 0;
  end
  found = stamp();
  groups = jsondecode(fileread(cases));
  count = 0;
  for g = 1:numel(groups)
    group = element(groups, g);
    if isfield(group, 'only') && ~isempty(group.only) && ~strcmp(group.only, found.convx_program)
      continue
    end
    sizes = cellfun('length', group.args);
    for number = 0:prod(sizes) - 1
      count = count + 1;
      inputs = {};
      for k = numel(sizes):-1:1
        alternative = group.args{k}{mod(number, sizes(k)) + 1};
        number = floor(number / sizes(k));
        if ~strcmp(alternative, '-')
          inputs = [{drawn(alternative, seed + 100 * count + k)}, inputs]; %#ok<AGROW> a few
        end
      end
      call = struct('name', group.f, 'inputs', {inputs}, 'outputs', 1, 'region', []);
      if isfield(group, 'out') && ~isempty(group.out)
        call.outputs = group.out;
      end
      if isfield(group, 'region') && ~isempty(group.region)
        call.region = [size(inputs{1}, 1), size(inputs{2}, 1), size(inputs{1}, 2), size(inputs{2}, 2)];
      end
      found = recorded(found, count, call);
    end
  end
  found.convx_cases = count;
  save('-v7', file, '-struct', 'found');
end

function group = element(groups, g)
%ELEMENT  jsondecode gives a cell array where the groups have unequal fields, otherwise an array of structures.
  if iscell(groups)
    group = groups{g};
  else
    group = groups(g);
  end
end

function value = drawn(alternative, seed)
  words = regexp(alternative, '^(int|count|real|cint|creal) ([0-9x]+) (\w+)$', 'tokens', 'once');
  if isempty(words)
    value = eval(alternative);
    return
  end
  [kind, dimensions, name] = words{:};
  dimensions = str2double(regexp(dimensions, 'x', 'split'));
  kind_of_part = regexprep(kind, '^c(int|real)$', '$1');
  value = part(kind_of_part, dimensions, name, seed);
  if ~strcmp(kind, kind_of_part)
    value = complex(value, part(kind_of_part, dimensions, name, seed + 50));
  end
end

function value = part(kind, dimensions, name, seed)
%PART  Three rounds of x*(x+40692)+97 modulo a prime below 2^26: exact in doubles, so the same everywhere.
  prime = 67108859;
  x = mod((0:prod(dimensions) - 1) + 7919 * seed + 1, prime);
  for k = 1:3
    x = mod(x .* mod(x + 40692, prime) + 97, prime);
  end
  if strcmp(kind, 'real')
    x = 2 * x / prime - 1;
  elseif strcmp(name, 'logical')
    x = mod(x, 2) ~= 0;
  elseif strcmp(kind, 'count')
    x = mod(x, 10);
  elseif any(strcmp(name, {'double', 'single'}))
    x = mod(x, 19) - 9;
  else
    low = max(double(intmin(name)), -1000);
    x = mod(x, min(double(intmax(name)), 1000) - low + 1) + low;
  end
  value = reshape(x, dimensions);
  if ~strcmp(name, 'logical')
    value = feval(name, value);
  end
end
