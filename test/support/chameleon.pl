# A process of one thread that becomes what its input says, a line at a time, and answers each with a line.
use strict;
use warnings;
use POSIX ();

$| = 1;
print "on\n";
while (my $line = <STDIN>) {
    chomp $line;
    my ($command, @args) = split ' ', $line;
    if ($command eq 'syscall') {
        # In this order: the number, then what it takes.
        my $result = syscall($args[0], map { 0 + $_ } @args[1 .. $#args]);
        print $result == -1 ? "failed: $!\n" : "done\n";
    }
    elsif ($command eq 'setns') {
        open(my $namespace, '<', $args[1]) or die "$args[1]: $!";
        print syscall($args[0], fileno($namespace), 0) == -1 ? "failed: $!\n" : "done\n";
    }
    elsif ($command eq 'setuid') { POSIX::setuid($args[0]); print "done\n" }
    elsif ($command eq 'setgid') { POSIX::setgid($args[0]); print "done\n" }
    elsif ($command eq 'seteuid') { $> = $args[0]; print "done\n" }
    elsif ($command eq 'fork') {
        # Never waited for: it stays a zombie when it ends.
        my $child = fork;
        if (!$child) { sleep 600; exit }
        print "$child\n";
    }
    elsif ($command eq 'fork-twice') {
        pipe(my $read, my $write) or die $!;
        my $between = fork;
        if (!$between) {
            my $child = fork;
            if (!$child) { sleep 600; exit }
            syswrite($write, "$child\n");
            POSIX::_exit(0);
        }
        waitpid($between, 0);
        print scalar <$read>;
    }
    elsif ($command eq 'exec') { exec(@args) or die $! }
}
