import io.spiffe.provider.SpiffeSslContextFactory;
import io.spiffe.provider.SpiffeSslContextFactory.SslContextOptions;
import io.spiffe.spiffeid.SpiffeId;
import io.spiffe.workloadapi.DefaultX509Source;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import java.security.cert.X509Certificate;
import java.util.Set;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSession;
import javax.net.ssl.SSLSocket;

/** Calls the server once a second, and prints who answered what. */
public final class Client {
  public static void main(String[] args) throws Exception {
    if (args.length != 2) {
      System.err.println("usage: Client HOST:PORT SERVER_SPIFFE_ID");
      System.exit(1);
    }
    String host = args[0].substring(0, args[0].lastIndexOf(':'));
    int port = Integer.parseInt(args[0].substring(host.length() + 1));
    var expected = Set.of(SpiffeId.parse(args[1]));
    // Waits until the agent gives this process an identity; from then on the source follows each renewal.
    var options =
        SslContextOptions.builder()
            .sslProtocol("TLSv1.3")
            .x509Source(DefaultX509Source.newSource())
            .acceptedSpiffeIdsSupplier(() -> expected)
            .build();
    try {
      while (true) {
        // A context of its own has no session to resume: who resumes one is not verified again, by default for a day.
        call(SpiffeSslContextFactory.getSslContext(options), new InetSocketAddress(host, port));
        Thread.sleep(1_000);
      }
    } catch (IOException error) {
      System.err.println(error.getMessage());
      // The source's threads would keep the process.
      System.exit(1);
    }
  }

  private static void call(SSLContext context, InetSocketAddress address) throws Exception {
    try (var socket = (SSLSocket) context.getSocketFactory().createSocket()) {
      socket.connect(address, 10_000);
      socket.setSoTimeout(10_000);
      socket.startHandshake();
      String server = peerId(socket.getSession());
      // A server that refuses says so only now: in TLS 1.3 the client is done with the handshake first.
      String greeting = new BufferedReader(new InputStreamReader(socket.getInputStream())).readLine();
      if (greeting == null) {
        throw new IOException("the server has hung up");
      }
      System.out.println(server + ": " + greeting);
    }
  }

  /** The SPIFFE ID of the other end: the one URI of the certificate that the handshake has verified. */
  private static String peerId(SSLSession session) throws Exception {
    var certificate = (X509Certificate) session.getPeerCertificates()[0];
    return certificate.getSubjectAlternativeNames().stream()
        .filter(name -> name.get(0).equals(6))
        .map(name -> (String) name.get(1))
        .findFirst()
        .orElseThrow();
  }
}
