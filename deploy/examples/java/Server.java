import io.spiffe.provider.SpiffeSslContextFactory;
import io.spiffe.provider.SpiffeSslContextFactory.SslContextOptions;
import io.spiffe.spiffeid.SpiffeId;
import io.spiffe.workloadapi.DefaultX509Source;
import java.io.IOException;
import java.net.InetAddress;
import java.security.cert.CertificateParsingException;
import java.security.cert.X509Certificate;
import java.util.Set;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.SSLSession;
import javax.net.ssl.SSLSocket;

/** Greets whoever presents the allowed SPIFFE ID. */
public final class Server {
  public static void main(String[] args) throws Exception {
    if (args.length != 2) {
      System.err.println("usage: Server HOST:PORT ALLOWED_SPIFFE_ID");
      System.exit(1);
    }
    String host = args[0].substring(0, args[0].lastIndexOf(':'));
    int port = Integer.parseInt(args[0].substring(host.length() + 1));
    // Who resumes a session is not verified again, by default for a day. Both are needed: this, and a short timeout below.
    System.setProperty("jdk.tls.server.enableSessionTicketExtension", "false");
    var allowed = Set.of(SpiffeId.parse(args[1]));
    // Waits until the agent gives this process an identity; from then on the source follows each renewal.
    var context =
        SpiffeSslContextFactory.getSslContext(
            SslContextOptions.builder()
                .sslProtocol("TLSv1.3")
                .x509Source(DefaultX509Source.newSource())
                .acceptedSpiffeIdsSupplier(() -> allowed)
                .build());
    context.getServerSessionContext().setSessionTimeout(1);
    var listener =
        (SSLServerSocket)
            context.getServerSocketFactory().createServerSocket(port, 50, InetAddress.getByName(host));
    listener.setNeedClientAuth(true);
    System.out.println("listening on " + host + ":" + listener.getLocalPort());
    while (true) {
      var socket = (SSLSocket) listener.accept();
      new Thread(() -> greet(socket)).start();
    }
  }

  private static void greet(SSLSocket socket) {
    try (socket) {
      socket.setSoTimeout(10_000);
      socket.startHandshake();
      String client = peerId(socket.getSession());
      socket.getOutputStream().write(("Hello, " + client + "\n").getBytes());
      System.out.println("greeted " + client);
    } catch (IOException | CertificateParsingException error) {
      System.err.println("refused: " + error.getMessage());
    }
  }

  /** The SPIFFE ID of the other end: the one URI of the certificate that the handshake has verified. */
  private static String peerId(SSLSession session) throws IOException, CertificateParsingException {
    var certificate = (X509Certificate) session.getPeerCertificates()[0];
    return certificate.getSubjectAlternativeNames().stream()
        .filter(name -> name.get(0).equals(6))
        .map(name -> (String) name.get(1))
        .findFirst()
        .orElseThrow();
  }
}
