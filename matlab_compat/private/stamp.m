function found = stamp()
%STAMP  The first variables of a reference file: its format, and which program made it when.
  found = struct('convx_reference', 1, 'convx_program', 'MATLAB', 'convx_release', version(), ...
                 'convx_date', datestr(now, 'yyyy-mm-dd'));
  if exist('OCTAVE_VERSION', 'builtin')
    found.convx_program = 'Octave';
    before = warning('off', 'Octave:shadowed-function'); % functions of packages are called by their package
    for name = {'image', 'signal'}
      pkg('load', name{1});
      about = pkg('describe', name{1});
      found.convx_release = sprintf('%s, %s %s', found.convx_release, name{1}, about{1}.version);
    end
    warning(before);
  end
end
